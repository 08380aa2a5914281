#include "nodes/measure/evaluate.h"

#include <algorithm>
#include <map>
#include <memory>

#include <fmt/format.h>

#include "io/error.h"
#include "io/file.h"
#include "io/tokenizer.h"
#include "io/utf8.h"
#include "model/math/runtime.h"
#include "model/pch.h"
#include "nodes/data/tokenize.h"
#include "nodes/measure/answer_tasks.h"
#include "nodes/measure/score.h"
#include "nodes/precision/artifacts.h"
#include "nodes/search/artifacts.h"
#include "nodes/states/walk.h"

namespace puzzle {

std::string SampleText(const Transformer& model, const Tokenizer& tokenizer,
                       const std::string& prompt, int64_t count, const Sampling& sampling) {
  std::vector<int32_t> ids = tokenizer.Encode(prompt);
  if (tokenizer.leading_id() >= 0) ids.insert(ids.begin(), tokenizer.leading_id());
  std::vector<int32_t> continuation = Generate(model, ids, count, sampling);
  // A vocabulary may be padded with rows for which the tokenizer has no text.
  std::erase_if(continuation, [&](int32_t id) { return id >= tokenizer.vocab_size(); });
  return RepairUtf8(DecodeAfter(tokenizer, ids, continuation));
}

namespace {

// All tasks that an evaluation asks: those at its port, and the file of questions.
std::vector<Task> TasksOf(const EvaluateParams& params, const Inputs& inputs) {
  std::vector<Task> tasks;
  if (inputs.Has("tasks")) tasks = inputs.Get<TaskSet>("tasks")->tasks;
  if (!params.questions.empty()) {
    constexpr uint64_t kLargest = uint64_t{1} << 30;
    Task task = ParseQuestions(ReadWholeFile(params.questions, kLargest), params.questions);
    if (params.max_questions > 0 && std::ssize(task.items) > params.max_questions)
      task.items.resize(static_cast<size_t>(params.max_questions));
    tasks.push_back(std::move(task));
  }
  return tasks;
}

// What children are compared with: as much of a parent as it takes to measure them.
struct ComparedParent {
  FinalStates states;
  std::map<std::string, std::string> tokenizer_files;
};

// Bytes that the final states of `config` take where `params` asks for predictions, at most.
size_t StatesBytes(const EvaluateParams& params, const TokenSet& tokens,
                   const ModelConfig& config) {
  const auto all = static_cast<int64_t>(tokens.ids.size());
  const int64_t predictions = params.positions > 0 ? std::min(params.positions, all) : all;
  return sizeof(float) * static_cast<size_t>(predictions * config.hidden_size);
}

// A parent to compare with on text: in memory, or to be walked through.
Transformer ParentOnText(const ModelWeights& parent, at::ScalarType products,
                         const RunContext& context) {
  const std::string device = context.device().name();
  return IsWalked(parent, products, context)
             ? Transformer(ForWalk(parent, products, device))
             : WithMatricesIn(products, Transformer(ToDevice(parent, device)));
}

// A model's figures on the tokens at their port, against the parent at its port if there is one:
// the parent answers once for all its children, unless that is too much to be kept.
TokenMetrics MeasureOnTokens(const EvaluateParams& params, const Inputs& inputs,
                             const Checkpoint& checkpoint, const Transformer& model,
                             at::ScalarType products, RunContext& context) {
  const auto tokens_input = inputs.One<TokenSet>("tokens");
  const auto tokens = tokens_input.Load();
  const auto poll = [&](double fraction) { context.Poll(fraction); };
  const DataRoom room = RoomOfWalk(context);
  if (!inputs.Has("parent"))
    return EvaluateModel(model, nullptr, *tokens, params.positions, params.batch, poll,
                         params.answers_only(), room);
  const auto parent_input = inputs.One<Checkpoint>("parent");
  if (StatesBytes(params, *tokens, model.config()) > context.resident_bytes()) {
    const auto parent = parent_input.Load();
    CheckSameLanguage(checkpoint.tokenizer_files, parent->tokenizer_files);
    const Transformer compared = ParentOnText(parent->model, products, context);
    return EvaluateModel(model, &compared, *tokens, params.positions, params.batch, poll,
                         params.answers_only(), room);
  }
  const auto compared = context.Resident<ComparedParent>(
      fmt::format("evaluate parent {} on {} {} {} {}", parent_input.digest(), tokens_input.digest(),
                  params.positions, params.on, at::toString(products)),
      [&] {
        const auto parent = parent_input.Load();
        CheckSameLanguage(checkpoint.tokenizer_files, parent->tokenizer_files);
        FinalStates states = ComputeFinalStates(
            ParentOnText(parent->model, products, context), *tokens, params.positions, params.batch,
            [&](double) { context.Poll(0); }, params.answers_only(), room);
        const size_t bytes = states.hidden.nbytes() + states.head.nbytes();
        return SizedValue{std::make_shared<const ComparedParent>(
                              ComparedParent{std::move(states), parent->tokenizer_files}),
                          bytes};
      });
  CheckSameLanguage(checkpoint.tokenizer_files, compared->tokenizer_files);
  return EvaluateModel(model, compared->states, *tokens, params.positions, params.batch, poll,
                       params.answers_only(), room);
}

}  // namespace

Evaluation RunEvaluate(const EvaluateParams& params, const Inputs& inputs, RunContext& context) {
  const auto measured = inputs.One<Checkpoint>("model");
  const auto checkpoint = measured.Load();
  const std::string device = context.device().name();
  const at::ScalarType products = ProductType(params.compute, device);
  const std::vector<Task> tasks = TasksOf(params, inputs);
  const auto apart = ApartIfLarge(checkpoint->model.config, context);
  // Tasks and a sample are asked of a model in memory, token by token.
  const bool walks =
      tasks.empty() && params.sample_tokens == 0 && IsWalked(checkpoint->model, products, context);
  const Transformer model(walks ? ForWalk(checkpoint->model, products, device)
                                : ToDevice(checkpoint->model, device));
  const Transformer rounded = walks ? model : WithMatricesIn(products, model);
  const ModelConfig& config = checkpoint->model.config;
  Evaluation evaluation;
  evaluation.label = params.label;
  evaluation.series = params.series;
  evaluation.model_digest = measured.digest();
  evaluation.has_kl = inputs.Has("parent");
  evaluation.products = products == at::kFloat ? "fp32" : "bf16";
  if (inputs.Has("choice")) evaluation.predicted = inputs.Get<Choice>("choice")->objective;
  evaluation.metrics = MeasureOnTokens(params, inputs, *checkpoint, rounded, products, context);
  evaluation.block_parameters = CountBlockParameters(config);
  evaluation.parameters = evaluation.block_parameters + CountNonBlockParameters(config);
  evaluation.weights_mib = static_cast<double>(evaluation.parameters) *
                           static_cast<double>(ElementSize(config.stored_dtype)) / (1 << 20);
  if (const auto file = checkpoint->figures.find(kFileMib); file != checkpoint->figures.end())
    evaluation.weights_mib = file->second;
  std::shared_ptr<const Tokenizer> tokenizer;
  if (!tasks.empty() || params.sample_tokens > 0) {
    if (checkpoint->tokenizer_files.empty())
      throw Error("tasks or a sample were asked for, but the model brought no tokenizer");
    tokenizer = MakeTokenizer(checkpoint->tokenizer_files);
  }
  for (const Task& task : tasks) {
    evaluation.tasks.push_back(AnswerTask(
        rounded, *tokenizer, task, [&](double fraction) { context.Poll(fraction, task.name); }));
    if (const int64_t cut = evaluation.tasks.back().cut; cut > 0)
      context.Warn(
          fmt::format("{} of {} questions of {} are longer than the model's context and "
                      "were cut at their beginning",
                      cut, evaluation.tasks.back().n, task.name));
  }
  if (params.sample_tokens > 0) {
    evaluation.prompt = params.prompt;
    evaluation.sample = SampleText(model, *tokenizer, params.prompt, params.sample_tokens);
  }
  return evaluation;
}

}  // namespace puzzle
