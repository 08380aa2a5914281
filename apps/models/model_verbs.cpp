#include "apps/models/model_verbs.h"

#include <CLI/CLI.hpp>
#include <memory>

#include "apps/frame/number_checks.h"
#include "graph/run/lanes.h"
#include "io/error.h"
#include "nodes/data/kinds.h"

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

void AddGenerateVerb(Verbs& verbs, const ModelCommands& commands) {
  auto own = std::make_shared<GenerateOptions>();
  CLI::App& verb = verbs.Add(
      "generate",
      "Continue prompts with a checkpoint, or chat with it. Text appears as it is written.",
      "  puzzle generate out/demo --prompt \"Once upon a time\" --tokens 100\n"
      "  puzzle generate out/demo --prompt \"Once\" --temperature 0.8 --top-p 0.9 --seed 7\n"
      "  puzzle generate out/demo --prompt \"Once\" --prompt \"The dog\" --json --dtype bf16\n"
      "  puzzle generate model.gguf --chat --prompt \"What is the capital of France?\"\n"
      "  puzzle generate model.gguf --chat --system \"Answer in rhymes.\"",
      [own, commands] { return commands.generate(*own); });
  verb.add_option("MODEL", own->model, "checkpoint: a folder or a .gguf file")->required();
  verb.add_option("--prompt", own->prompts,
                  "text to continue; several are continued side by side, or are asked one after "
                  "another in a chat. Without any: from nothing, or a chat with lines of the input")
      ->allow_extra_args(false);
  verb.add_flag("--chat", own->chat,
                "ask as the chat template of the checkpoint says, and answer; questions follow on "
                "each other");
  verb.add_option("--system", own->system, "what a chat begins with, if not as its template says");
  verb.add_option("--tokens", own->tokens, "how many at most, of each text")
      ->check(Positive())
      ->capture_default_str();
  verb.add_option("--stop", own->stops, "a text ends before this; may be given several times")
      ->allow_extra_args(false);
  verb.add_option("--temperature", own->temperature, "0: the likeliest token")
      ->check(NotNegative());
  verb.add_option("--top-k", own->top_k, "draw among the k likeliest; 0: all")
      ->check(NotNegative());
  verb.add_option("--top-p", own->top_p,
                  "draw among the likeliest that together have this probability; 1: all");
  verb.add_option(
      "--min-p", own->min_p,
      "draw among those with at least this share of the likeliest's probability; 0: all");
  verb.add_option("--repetition-penalty", own->repetition_penalty,
                  "logits of tokens that are there already are divided by it; 1: nothing");
  verb.add_option("--seed", own->seed, "of what is drawn")->capture_default_str();
  verb.add_option("--dtype", own->dtype, "weights in fp32, bf16 or int8; on the CPU")
      ->check(CLI::IsMember({"fp32", "bf16", "int8"}))
      ->capture_default_str();
  verb.add_option("--batch", own->batch, "prompts at a time")
      ->check(Positive())
      ->capture_default_str();
  verb.add_option("--device", own->device, "cpu or cuda:N")
      ->check(OneDevice())
      ->capture_default_str();
  verb.add_option("--threads", own->threads, "0: all cores")->check(CLI::Range(0, 4096));
  verb.add_flag("--json", own->json, "a JSON line for each text, when all are written");
}

void AddBenchVerb(Verbs& verbs, const ModelCommands& commands) {
  auto own = std::make_shared<BenchVerbOptions>();
  CLI::App& verb = verbs.Add(
      "bench",
      "Measure how fast models read prompts and write text on this machine's CPU, in turn (A B A "
      "B), beside what the bandwidth of its memory allows and what a cost model predicts.",
      "  puzzle bench models/parent out/child\n"
      "  puzzle bench model.gguf --dtype bf16 --threads 2 --json\n"
      "  puzzle bench models/parent out/child --batch 32 --prefill 128 --decode 64 --dtype int8",
      [own, commands] { return commands.bench(*own); });
  verb.add_option("MODEL", own->models,
                  "checkpoints, folders or .gguf files; the first is what the others are compared "
                  "with")
      ->required();
  verb.add_option("--batch", own->batch, "sequences side by side")
      ->check(Positive())
      ->capture_default_str();
  verb.add_option("--prefill", own->prefill, "tokens of a prompt")
      ->check(Positive())
      ->capture_default_str();
  verb.add_option("--decode", own->decode, "tokens written behind it")
      ->check(Positive())
      ->capture_default_str();
  verb.add_option("--dtype", own->dtype,
                  "weights in fp32, bf16 or int8 (keys and values in bf16 "
                  "but for fp32)")
      ->check(CLI::IsMember({"fp32", "bf16", "int8"}))
      ->capture_default_str();
  verb.add_option("--rounds", own->rounds, "turns of each model; figures are their medians")
      ->check(Positive())
      ->capture_default_str();
  verb.add_option("--threads", own->threads, "0: all cores")->check(CLI::Range(0, 4096));
  verb.add_flag("--json", own->json, "print one JSON object");
}

void AddExportVerb(Verbs& verbs, const ModelCommands& commands) {
  auto own = std::make_shared<ExportOptions>();
  CLI::App& verb =
      verbs.Add("export",
                "Write a checkpoint as a Hugging Face folder, as one whose layers are all alike "
                "(dense: filled up with zeros), as one with a config.json as ModelOpt writes it "
                "(anymodel), or as a GGUF file for llama.cpp with tokenizer and chat template "
                "inside, and say which programs load it. What a format cannot say is refused.",
                "  puzzle export out/child child.gguf --format gguf\n"
                "  puzzle export out/child child.gguf --format gguf --dtype q8_0\n"
                "  puzzle export out/child child.gguf --format gguf --dtype q8_0 --type ffn=q4_0\n"
                "  puzzle export configs/demo.json:student child.gguf --format gguf --store store\n"
                "  puzzle export configs/smallest-gguf.json:model small.gguf --format gguf "
                "--precision smallest\n"
                "  puzzle export model.gguf out/model --dtype bf16",
                [own, commands] { return commands.export_model(*own); });
  verb.add_option("MODEL", own->model,
                  "checkpoint: a folder, a .gguf file, or GRAPH:STEP of a graph that ran")
      ->required();
  verb.add_option("OUT", own->out, "where to: a folder, for gguf a file")->required();
  verb.add_option("--format", own->format, "what to write")
      ->check(CLI::IsMember(ExportFormats()))
      ->capture_default_str();
  verb.add_option("--dtype", own->dtype, "type of the matrices; same: as they are stored now")
      ->check(CLI::IsMember(ExportDTypes()))
      ->capture_default_str();
  verb.add_option(
          "--type", own->types,
          "of a part in a GGUF file: embed, head, attn or ffn, of one layer attn:3; the rest "
          "as --dtype says; the last one that names a part counts")
      ->allow_extra_args(false)
      ->type_name("PART=TYPE");
  verb.add_option("--precision", own->precision,
                  "step of the same graph that chose a type for every part; for gguf")
      ->type_name("STEP");
  verb.add_option("--store", own->store, "where GRAPH:STEP has its results")->capture_default_str();
  verb.add_option("--set", own->settings, "of GRAPH:STEP, as the run had it")
      ->allow_extra_args(false)
      ->type_name("TARGET=VALUE");
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
      ->check(NotNegative());
  eval_verb.add_option("--parent", eval->parent, "checkpoint to compare with");
  eval_verb
      .add_option("--without", eval->without,
                  "remove a sub-block or a whole block: attn:LAYER, ffn:LAYER, block:LAYER")
      ->allow_extra_args(false);
  eval_verb.add_option("--positions", eval->positions, "predictions to measure; 0: all")
      ->check(NotNegative());
  eval_verb.add_option("--length", eval->length, "tokens in a sequence; 0: the model's context")
      ->check(NotNegative());
  eval_verb.add_option("--separator", eval->separator, "what stands between documents")
      ->capture_default_str();
  eval_verb.add_option("--batch", eval->batch, "sequences at a time")
      ->check(Positive())
      ->capture_default_str();
  eval_verb.add_option("--device", eval->device, "cpu or cuda:N")
      ->check(OneDevice())
      ->capture_default_str();
  eval_verb
      .add_option("--compute", eval->compute,
                  "type of the products; bf16 only where the device is faster at it")
      ->check(CLI::IsMember({"fp32", "bf16"}))
      ->capture_default_str();
  eval_verb.add_option("--threads", eval->threads, "0: all cores")->check(CLI::Range(0, 4096));
  eval_verb.add_flag("--json", eval->json, "print one JSON object");

  AddGenerateVerb(verbs, commands);
  AddBenchVerb(verbs, commands);
  AddExportVerb(verbs, commands);
}

}  // namespace puzzle
