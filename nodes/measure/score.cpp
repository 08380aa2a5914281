#include "nodes/measure/score.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "io/error.h"
#include "model/math/parallel.h"
#include "model/math/runtime.h"
#include "model/pch.h"
#include "nodes/data/counted_predictions.h"
#include "nodes/measure/score_setting.h"
#include "nodes/measure/task_scores.h"
#include "nodes/states/finite.h"
#include "nodes/states/layer_input.h"
#include "nodes/train/artifacts.h"
#include "nodes/train/join.h"

namespace puzzle {

using at::Tensor;

namespace {

// The predictions that figures are taken on: all, or those of answers.
class Predictions {
 public:
  explicit Predictions(const Captured& model) : per_sequence_(model.states.length() - 1) {
    if (model.answers_only) counted_.emplace(model.states.Mask());
  }
  // How many there are in the sequences before `sequence`, and in some.
  [[nodiscard]] int64_t Before(int64_t sequence) const {
    return counted_ ? counted_->Before(sequence) : sequence * per_sequence_;
  }
  [[nodiscard]] int64_t Of(int64_t first, int64_t count) const {
    return Before(first + count) - Before(first);
  }
  // Of values one for each prediction of some sequences.
  [[nodiscard]] Tensor Select(const Tensor& values, int64_t first, int64_t count) const {
    return counted_ ? counted_->Select(values, first, count) : values;
  }

 private:
  int64_t per_sequence_;
  std::optional<CountedPredictions> counted_;
};

// Of sequences from `first` on, given their last state.
HeadInput Head(const Transformer& model, const Predictions& predictions, const Tensor& last_state,
               int64_t first) {
  const Tensor& matrix = model.weights().HeadMatrix();
  const Tensor states = PredictingStates(model.FinalNorm(last_state));
  return {predictions.Select(states, first, last_state.size(0)), matrix, matrix.scalar_type()};
}

// work(first, count) for the sequences of every batch.
template <class Work>
void ForEachBatch(const Activations& states, int64_t batch, const Work& work) {
  for (int64_t first = 0; first < states.sequences(); first += batch)
    work(first, std::min(batch, states.sequences() - first));
}

// The same sub-block, or block, with its products in the type of the model's.
SubBlockWeights InTypeOf(const Transformer& model, const SubBlockWeights& weights,
                         const VariantSpec& spec) {
  return WithProductsIn(model.weights().HeadMatrix().scalar_type(), weights, spec);
}

// `model` with that in place of its own.
Transformer WithPart(const Transformer& model, int64_t layer, const VariantSpec& spec,
                     const SubBlockWeights& weights, int64_t positions) {
  ModelWeights replaced = model.weights();
  Replace(replaced, layer, spec, weights);
  return Transformer(std::move(replaced), positions);
}

// The figures of all batches, given the last state of some sequences; the sequences of a batch are
// shared out among the threads.
template <class LastState>
TokenFigures MeasureAll(const Transformer& model, const Captured& captured,
                        const FoldedParent& parent, int64_t batch, const LastState& last_state,
                        const std::function<void(double)>& poll) {
  const at::NoGradGuard no_grad;
  const Activations& states = captured.states;
  const Predictions predictions(captured);
  const at::Device device = model.weights().norm.device();
  const int64_t sequences = states.sequences();
  std::vector<Tensor> figures;
  ForEachBatch(states, batch, [&](int64_t first, int64_t count) {
    std::vector<Tensor> parts(static_cast<size_t>(RowParts(count, device)));
    ParallelOverRows(count, device, [&](int64_t part, int64_t begin, int64_t rows) {
      const int64_t row = first + begin;
      if (predictions.Of(row, rows) == 0) return;
      const Tensor targets = NextTokens(states.Ids(row, rows).to(device));
      parts[static_cast<size_t>(part)] =
          Measure(Head(model, predictions, last_state(row, rows), row),
                  predictions.Select(targets, row, rows),
                  parent.Narrow(predictions.Before(row), predictions.Of(row, rows)))
              .rows;
    });
    for (const Tensor& part : parts)
      if (part.defined()) figures.push_back(part);
    poll(static_cast<double>(first + count) / static_cast<double>(sequences));
  });
  return {at::cat(figures, 1)};
}

}  // namespace

Transformer WithMatricesIn(at::ScalarType type, const Transformer& model) {
  if (type == at::kFloat) return model;
  ModelWeights weights = model.WithProductsIn(type).weights();
  weights.head = weights.HeadMatrix().to(type);
  return Transformer(std::move(weights));
}

FoldedParent FoldCaptured(const Transformer& model, const Captured& parent, int64_t batch) {
  const at::NoGradGuard no_grad;
  const int64_t layers = parent.model.config().n_layers();
  const Predictions predictions(parent);
  std::vector<Tensor> hidden, expected_row, negentropy;
  at::ScalarType type = at::kFloat;
  ForEachBatch(parent.states, batch, [&](int64_t first, int64_t count) {
    if (predictions.Of(first, count) == 0) return;
    const FoldedParent part =
        FoldParent(Head(parent.model, predictions,
                        LayerInput(parent.model, parent.states, layers, first, count), first),
                   model.weights().HeadMatrix());
    type = part.products;
    hidden.push_back(part.hidden);
    expected_row.push_back(part.expected_row);
    negentropy.push_back(part.negentropy);
  });
  return {at::cat(hidden), at::cat(expected_row), at::cat(negentropy), type};
}

Tensor StatesBeforeFfn(const Captured& model, int64_t layer, int64_t batch) {
  const at::NoGradGuard no_grad;
  const Transformer& own = model.model;
  const SubBlockWeights attention = SubBlockOf(own.weights(), layer, SubBlock::kAttention);
  const VariantSpec spec = ParentVariant(own.config(), layer, SubBlock::kAttention);
  std::vector<Tensor> states;
  ForEachBatch(model.states, batch, [&](int64_t first, int64_t count) {
    states.push_back(ApplySubBlock(attention, spec, own.config(), own.rotary(),
                                   LayerInput(own, model.states, layer, first, count)));
  });
  return at::cat(states);
}

TokenFigures ScoreReplacement(const Captured& model, const Replacement& replacement,
                              const FoldedParent& parent, int64_t batch,
                              const std::function<void(double)>& poll) {
  const auto& [layer, spec, given, before_ffn] = replacement;
  const SubBlockWeights weights = InTypeOf(model.model, given, spec);
  const Transformer child = WithPart(model.model, layer, spec, weights, model.states.length());
  const auto behind_layer = [&](int64_t first, int64_t count) {
    if (before_ffn.defined())
      return ApplySubBlock(weights, spec, child.config(), child.rotary(),
                           before_ffn.narrow(0, first, count));
    return child.Blocks(LayerInput(model.model, model.states, layer, first, count), layer,
                        layer + 1);
  };
  return MeasureAll(
      child, model, parent, batch,
      [&](int64_t first, int64_t count) {
        return child.Blocks(behind_layer(first, count), layer + 1, child.config().n_layers());
      },
      poll);
}

TokenFigures ScoreFromTokens(const Captured& model, const Transformer& changed,
                             const FoldedParent& parent, int64_t batch,
                             const std::function<void(double)>& poll) {
  return MeasureAll(
      changed, model, parent, batch,
      [&](int64_t first, int64_t count) {
        const Tensor ids = model.states.Ids(first, count).to(changed.weights().embedding.device());
        return changed.Blocks(changed.Embed(ids), 0, changed.config().n_layers());
      },
      poll);
}

TokenFigures ScoreAsIs(const Captured& model, const FoldedParent& parent, int64_t batch) {
  return MeasureAll(
      model.model, model, parent, batch,
      [&](int64_t first, int64_t count) {
        return LayerInput(model.model, model.states, model.model.config().n_layers(), first, count);
      },
      [](double) {});
}

namespace {

// What a model loses in the tasks at their port when `replacement` stands in it.
TaskDamage MeasureInTasks(const ScoreSetting& setting, const Replacement& replacement,
                          const Inputs& inputs, RunContext& context) {
  const auto input = inputs.One<TaskSet>("tasks");
  const auto tasks = input.Load();
  const auto reference = context.Resident<TaskReference>(
      fmt::format("score tasks {} {}", setting.name(), input.digest()), [&] {
        const auto parent = inputs.One<Checkpoint>("parent").Load();
        if (parent->tokenizer_files.empty())
          throw Error("tasks are connected, but the parent brought no tokenizer to ask them with");
        auto made = std::make_shared<const TaskReference>(
            MakeTaskReference(*tasks, setting.parent().model, setting.model().model,
                              MakeTokenizer(parent->tokenizer_files),
                              [&](double, std::string_view task) { context.Poll(0, task); }));
        return SizedValue{made, tasks->ResidentBytes()};
      });
  const auto& [layer, spec, weights, before_ffn] = replacement;
  const Transformer& model = setting.model().model;
  const Transformer replaced =
      WithPart(model, layer, spec, InTypeOf(model, weights, spec), /*positions=*/0);
  return ScoreInTasks(*tasks, replaced, *reference, [&](double fraction, std::string_view task) {
    context.Poll(fraction, task);
  });
}

}  // namespace

Score RunScore(const ScoreParams& params, const Inputs& inputs, RunContext& context) {
  const at::ScalarType products = ProductType(params.compute, context.device().name());
  const ScoreSetting setting(inputs, products, params.answers_only(), params.batch, context);
  const auto block = inputs.Get<Block>("block");
  Replacement replacement{
      block->layer, block->spec, WeightsOf(*block, setting.parent().model.weights()), {}};
  if (WhichSubBlock(block->spec) == SubBlock::kFfn)
    replacement.before_ffn = setting.BeforeFfn(block->layer);
  Score score;
  score.products = products == at::kFloat ? "fp32" : "bf16";
  score.layer = block->layer;
  score.variant = block->variant;
  score.spec = block->spec;
  const TokenFigures replaced =
      ScoreReplacement(setting.model(), replacement, setting.folded(), params.batch,
                       [&](double fraction) { context.Poll(fraction); });
  if (!AllFinite(replaced.rows))
    ThrowNotFinite(
        fmt::format("the answers of the model with {} in layer {}", score.variant, score.layer));
  score.metrics = replaced.Sum();
  score.increase = setting.Increase(replaced);
  if (inputs.Has("tasks")) score.tasks = MeasureInTasks(setting, replacement, inputs, context);
  return score;
}

}  // namespace puzzle
