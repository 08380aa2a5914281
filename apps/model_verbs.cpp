#include "apps/model_verbs.h"

#include <CLI/CLI.hpp>
#include <memory>

#include "graph/run/lanes.h"
#include "io/error.h"

namespace puzzle {

namespace {

/// One device by the name that `run --devices` takes.
CLI::Validator OneDevice() {
  return {[](std::string& text) -> std::string {
            try {
              return ParseDevices(text).size() == 1 ? "" : "expected one device";
            } catch (const Error& error) {
              return error.what();
            }
          },
          "DEVICE"};
}

}  // namespace

void AddModelVerbs(Verbs& verbs, const ModelCommands& commands) {
  auto eval = std::make_shared<EvalOptions>();
  CLI::App& eval_verb = verbs.Add(
      "eval",
      "Measure a checkpoint on a text: NLL and top-1/5/10 accuracy; KL, cosine and normalised MSE "
      "of the final states against a parent. Or in tasks: accuracies, and what is kept of a "
      "parent's. Each with its standard error.",
      "  puzzle eval models/stories3M --text test.txt --positions 40000 --json\n"
      "  puzzle eval models/stories3M --text test.txt --without attn:5 --without block:2\n"
      "  puzzle eval out/stories3m --text test.txt --parent models/stories3M\n"
      "  puzzle eval out/child --tasks hellaswag,arc_easy --limit 500 --parent models/parent\n"
      "  puzzle eval out/child --tasks all --task-data data/eval --json",
      [eval, commands] { return commands.eval(*eval); });
  eval_verb.add_option("MODEL", eval->model, "checkpoint: a folder or a .gguf file")->required();
  CLI::Option_group& what = *eval_verb.add_option_group("What to measure");
  what.require_option(1, 0);
  what.add_option("--text", eval->text, "text file, - or a pipe; documents end at the separator");
  what.add_option("--tasks", eval->tasks,
                  "tasks by name, or task files, with commas between; all: those that have rows")
      ->delimiter(',');
  eval_verb
      .add_option("--task-data", eval->task_data, "rows of the tasks, in folders of their names")
      ->capture_default_str();
  eval_verb.add_option("--limit", eval->limit, "questions of each task; 0: all")
      ->check(CLI::NonNegativeNumber);
  eval_verb.add_option("--parent", eval->parent, "checkpoint folder to compare with");
  eval_verb
      .add_option("--without", eval->without,
                  "remove a sub-block or a whole block: attn:LAYER, ffn:LAYER, block:LAYER")
      ->allow_extra_args(false);
  eval_verb.add_option("--positions", eval->positions, "predictions to measure; 0: all")
      ->check(CLI::NonNegativeNumber);
  eval_verb.add_option("--length", eval->length, "tokens in a sequence; 0: the model's context")
      ->check(CLI::NonNegativeNumber);
  eval_verb.add_option("--separator", eval->separator, "what stands between documents")
      ->capture_default_str();
  eval_verb.add_option("--batch", eval->batch, "sequences at a time")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  eval_verb.add_option("--device", eval->device, "cpu or cuda:N")
      ->check(OneDevice())
      ->capture_default_str();
  eval_verb.add_option("--threads", eval->threads, "0: all cores")->check(CLI::NonNegativeNumber);
  eval_verb.add_flag("--json", eval->json, "print one JSON object");

  auto generate = std::make_shared<GenerateOptions>();
  CLI::App& generate_verb = verbs.Add(
      "generate", "Continue a prompt with a checkpoint, with a KV cache.",
      "  puzzle generate out/demo --prompt \"Once upon a time\" --tokens 100\n"
      "  puzzle generate out/demo --prompt \"Once\" --temperature 0.8 --top-k 40 --seed 7\n"
      "  puzzle generate model.gguf --chat --prompt \"What is the capital of France?\"",
      [generate, commands] { return commands.generate(*generate); });
  generate_verb.add_flag("--chat", generate->chat,
                         "ask the prompt as the chat template of the checkpoint says, and answer");
  generate_verb.add_option("MODEL", generate->model, "checkpoint: a folder or a .gguf file")
      ->required();
  generate_verb.add_option("--prompt", generate->prompt, "text to continue; empty: from nothing");
  generate_verb.add_option("--tokens", generate->tokens, "how many at most")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  generate_verb.add_option("--temperature", generate->temperature, "0: the likeliest token")
      ->check(CLI::NonNegativeNumber);
  generate_verb.add_option("--top-k", generate->top_k, "sample among the k likeliest; 0: all")
      ->check(CLI::NonNegativeNumber);
  generate_verb.add_option("--seed", generate->seed, "of the sampling")->capture_default_str();
  generate_verb.add_option("--device", generate->device, "cpu or cuda:N")
      ->check(OneDevice())
      ->capture_default_str();
  generate_verb.add_option("--threads", generate->threads, "0: all cores")
      ->check(CLI::NonNegativeNumber);
}

}  // namespace puzzle
