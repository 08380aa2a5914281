#include "nodes/measure/evaluate.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include <fmt/format.h>

#include "io/error.h"
#include "io/file.h"
#include "io/tokenizer.h"
#include "io/utf8.h"
#include "model/math/losses.h"
#include "model/math/parallel.h"
#include "model/pch.h"
#include "nodes/data/counted_predictions.h"
#include "nodes/data/tokenize.h"
#include "nodes/measure/answer_tasks.h"
#include "nodes/search/artifacts.h"
#include "nodes/states/activations.h"
#include "nodes/states/finite.h"

namespace puzzle {

using at::Tensor;

namespace {

// Throws Error where what was measured on `ids` is not finite, naming what of which model is not.
void CheckMeasured(const TokenMetrics& metrics, const Transformer& model, const Transformer* parent,
                   const Tensor& ids) {
  const auto is_finite = [&](Metric metric) { return std::isfinite(metrics.Mean(metric)); };
  if (is_finite(Metric::kNll) && (parent == nullptr || is_finite(Metric::kKl))) return;
  if (const std::string what = FirstNotFinite(model, ids); !what.empty())
    ThrowNotFinite(what + " of the model");
  const std::string what = parent != nullptr ? FirstNotFinite(*parent, ids) : "";
  ThrowNotFinite(what.empty() ? "the losses" : what + " of the parent");
}

}  // namespace

void CheckComparable(const ModelConfig& model, const ModelConfig& parent, const TokenSet& tokens) {
  CheckTokensFit(tokens, parent, "the parent");
  if (model.hidden_size != parent.hidden_size)
    throw Error(
        fmt::format("the model's hidden size is {}, the parent's {}: their final states "
                    "cannot be compared",
                    model.hidden_size, parent.hidden_size));
  const int64_t common = std::min(model.vocab_size, parent.vocab_size);
  if (model.vocab_size != parent.vocab_size && tokens.vocab_size > common)
    throw Error(
        fmt::format("the model has a vocabulary of {}, the parent of {}, and the tokenizer "
                    "has {} ids: only what pads a vocabulary may differ",
                    model.vocab_size, parent.vocab_size, tokens.vocab_size));
}

TokenMetrics EvaluateModel(const Transformer& model, const Transformer* parent,
                           const TokenSet& tokens, int64_t positions, int64_t batch,
                           const std::function<void(double)>& poll, bool answers_only) {
  const at::NoGradGuard no_grad;
  CheckTokensFit(tokens, model.config());
  if (parent != nullptr) CheckComparable(model.config(), parent->config(), tokens);
  const at::Device device = model.weights().embedding.device();
  const int64_t per_sequence = tokens.length - 1;
  if (per_sequence < 1) throw Error("sequences of one token predict nothing");
  std::optional<CountedPredictions> counted;
  if (answers_only) counted.emplace(tokens.Mask());
  const int64_t available = counted ? counted->total() : tokens.sequences() * per_sequence;
  const int64_t wanted = positions > 0 ? std::min(positions, available) : available;
  auto head_input = [&](const Transformer& m, const Tensor& ids) {
    const Tensor x = m.FinalNorm(m.Blocks(m.Embed(ids), 0, m.config().n_layers()));
    return HeadInput{x.flatten(0, 1), m.weights().HeadMatrix()};
  };
  // The figures of the first `length` predictions of every row, or of what `chosen` takes of them.
  auto measure = [&](const Tensor& ids, int64_t length, const auto& chosen) {
    const Tensor context = ids.narrow(1, 0, length);
    const Tensor targets = chosen(ids.narrow(1, 1, length).flatten());
    HeadInput child = head_input(model, context);
    child.hidden = chosen(child.hidden);
    if (parent == nullptr) return Measure(child, targets, nullptr).Sum();
    HeadInput reference = head_input(*parent, context);
    reference.hidden = chosen(reference.hidden);
    return Measure(child, targets, &reference).Sum();
  };
  const auto all = [](const Tensor& values) { return values; };
  TokenMetrics metrics;
  for (int64_t first = 0; metrics.tokens < wanted; first += batch) {
    // Only the sequences, and of the last one only the tokens, that are asked for.
    const int64_t left = wanted - metrics.tokens;
    int64_t together = std::min(batch, tokens.sequences() - first);
    if (!counted) together = std::min(together, (left + per_sequence - 1) / per_sequence);
    const Tensor ids = tokens.Batch(first, together).to(device);
    std::vector<TokenMetrics> parts(static_cast<size_t>(RowParts(together, device)));
    ParallelOverRows(together, device, [&](int64_t part, int64_t begin, int64_t rows) {
      TokenMetrics& own_metrics = parts[static_cast<size_t>(part)];
      if (counted) {
        const int64_t row = first + begin;
        const int64_t own = std::min(left - counted->Of(first, begin), counted->Of(row, rows));
        if (own > 0)
          own_metrics =
              measure(ids.narrow(0, begin, rows), per_sequence, [&](const Tensor& values) {
                return counted->Select(values, row, rows).narrow(0, 0, own);
              });
        return;
      }
      const int64_t own = std::min(left - begin * per_sequence, rows * per_sequence);
      const int64_t whole = own / per_sequence, rest = own % per_sequence;
      if (whole > 0) own_metrics += measure(ids.narrow(0, begin, whole), per_sequence, all);
      if (rest > 0) own_metrics += measure(ids.narrow(0, begin + whole, 1), rest, all);
    });
    for (const TokenMetrics& part : parts) metrics += part;
    if (metrics.tokens > 0) CheckMeasured(metrics, model, parent, ids);
    poll(static_cast<double>(metrics.tokens) / static_cast<double>(wanted));
  }
  return metrics;
}

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

}  // namespace

Evaluation RunEvaluate(const EvaluateParams& params, const Inputs& inputs, RunContext& context) {
  const auto measured = inputs.One<Checkpoint>("model");
  const auto checkpoint = measured.Load();
  const auto tokens = inputs.Get<TokenSet>("tokens");
  const std::string device = context.device().name();
  const Transformer model(ToDevice(checkpoint->model, device));
  std::optional<Transformer> parent;
  if (inputs.Has("parent")) {
    const auto compared = inputs.Get<Checkpoint>("parent");
    CheckSameLanguage(checkpoint->tokenizer_files, compared->tokenizer_files);
    parent.emplace(ToDevice(compared->model, device));
  }
  const ModelConfig& config = checkpoint->model.config;
  Evaluation evaluation;
  evaluation.label = params.label;
  evaluation.series = params.series;
  evaluation.model_digest = measured.digest();
  evaluation.has_kl = parent.has_value();
  if (inputs.Has("choice")) evaluation.predicted = inputs.Get<Choice>("choice")->objective;
  evaluation.metrics = EvaluateModel(
      model, parent ? &*parent : nullptr, *tokens, params.positions, params.batch,
      [&](double fraction) { context.Poll(fraction); }, params.answers_only());
  evaluation.block_parameters = CountBlockParameters(config);
  evaluation.parameters = evaluation.block_parameters + CountNonBlockParameters(config);
  evaluation.weights_mib = static_cast<double>(evaluation.parameters) *
                           static_cast<double>(ElementSize(config.stored_dtype)) / (1 << 20);
  std::shared_ptr<const Tokenizer> tokenizer;
  const std::vector<Task> tasks = TasksOf(params, inputs);
  if (!tasks.empty() || params.sample_tokens > 0) {
    if (checkpoint->tokenizer_files.empty())
      throw Error("tasks or a sample were asked for, but the model brought no tokenizer");
    tokenizer = MakeTokenizer(checkpoint->tokenizer_files);
  }
  for (const Task& task : tasks) {
    evaluation.tasks.push_back(AnswerTask(
        model, *tokenizer, task, [&](double fraction) { context.Poll(fraction, task.name); }));
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
