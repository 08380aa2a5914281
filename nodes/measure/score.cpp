#include "nodes/measure/score.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "io/error.h"
#include "model/math/parallel.h"
#include "model/math/runtime.h"
#include "model/pch.h"
#include "model/unread.h"
#include "nodes/data/counted_predictions.h"
#include "nodes/measure/score_setting.h"
#include "nodes/measure/task_scores.h"
#include "nodes/states/finite.h"
#include "nodes/states/layer_input.h"
#include "nodes/states/walk.h"
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

// The same sub-block, or block, on the model's device with its products in the type of the model's.
SubBlockWeights InTypeOf(const Transformer& model, const SubBlockWeights& weights,
                         const VariantSpec& spec) {
  SubBlockWeights own = InMemory(weights);
  for (const auto& [name, slot] : Slots(own, spec)) *slot = slot->to(model.weights().norm.device());
  return WithProductsIn(model.weights().HeadMatrix().scalar_type(), own, spec);
}

WalkedModel Walked(const Transformer& model) {
  return {model.weights(), model.weights().HeadMatrix().scalar_type()};
}

// Room for the states of all sequences, between two layers.
Tensor RoomForStates(const Captured& model) {
  const Activations& states = model.states;
  return RoomFor({states.sequences(), states.length(), states.hidden()}, at::kFloat, model.room);
}

// The states at the input of a layer: read, or computed when they are asked for; of a model that is
// walked through, and has not kept them, found by one walk.
class StatesAt {
 public:
  // `in_parts`: they will be asked for by the parts of batches, else by whole batches.
  StatesAt(const Captured& model, int64_t layer, int64_t batch, bool in_parts)
      : model_(model), layer_(layer) {
    if (model.states.Keeps(layer) || !HasUnreadBlocks(model.model.weights())) return;
    walked_ = RoomForStates(model);
    const at::Device device = model.model.weights().norm.device();
    WalkTo(Walked(model.model), model.states, layer,
           in_parts ? InParts(walked_, batch, device) : InBatches(walked_, batch), [](double) {});
  }
  [[nodiscard]] Tensor Rows(int64_t first, int64_t count) const {
    if (walked_.defined())
      return walked_.narrow(0, first, count).to(model_.model.weights().norm.device());
    return LayerInput(model_.model, model_.states, layer_, first, count);
  }

 private:
  const Captured& model_;
  int64_t layer_;
  Tensor walked_;
};

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
  const StatesAt last(parent, parent.model.config().n_layers(), batch, /*in_parts=*/false);
  const Predictions predictions(parent);
  std::vector<Tensor> hidden, expected_row, negentropy;
  at::ScalarType type = at::kFloat;
  ForEachBatch(parent.states, batch, [&](int64_t first, int64_t count) {
    if (predictions.Of(first, count) == 0) return;
    const FoldedParent part =
        FoldParent(Head(parent.model, predictions, last.Rows(first, count), first),
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
  const VariantSpec spec = ParentVariant(own.config(), layer, SubBlock::kAttention);
  const SubBlockWeights attention =
      InTypeOf(own, SubBlockOf(own.weights(), layer, SubBlock::kAttention), spec);
  const StatesAt inputs(model, layer, batch, /*in_parts=*/false);
  Tensor states;
  if (HasUnreadBlocks(own.weights())) {
    states = RoomForStates(model);
  } else {
    const Activations& all = model.states;
    states = at::empty({all.sequences(), all.length(), all.hidden()}, own.weights().norm.options());
  }
  ForEachBatch(model.states, batch, [&](int64_t first, int64_t count) {
    states.narrow(0, first, count)
        .copy_(
            ApplySubBlock(attention, spec, own.config(), own.rotary(), inputs.Rows(first, count)));
  });
  return states;
}

namespace {

// The last states of `child`, which has `replacement` in place of what the captured model has.
Tensor WalkedLastStates(const Captured& model, const Transformer& child,
                        const Replacement& replacement, int64_t batch, const WalkPoll& poll) {
  const auto& [layer, spec, weights, before_ffn] = replacement;
  const at::Device device = child.weights().norm.device();
  const Tensor states = RoomForStates(model);
  const WalkedBatches parts = InParts(states, batch, device);
  int64_t first = layer;  // the block that comes next
  if (before_ffn.defined()) {
    const auto apply = [&](const WalkedPart& part, const Tensor& x) {
      return ApplySubBlock(weights, spec, child.config(), child.rotary(),
                           before_ffn.narrow(0, part.first, x.size(0)));
    };
    StepStates(parts, device, apply, [&](double) { poll(0); });
    first = layer + 1;
  } else {
    WalkTo(Walked(model.model), model.states, layer, parts, [&](double) { poll(0); });
  }
  WalkBlocks(Walked(child), first, child.config().n_layers(), parts, poll);
  return states;
}

}  // namespace

TokenFigures ScoreReplacement(const Captured& model, const Replacement& replacement,
                              const FoldedParent& parent, int64_t batch,
                              const std::function<void(double)>& poll) {
  const auto& [layer, spec, given, before_ffn] = replacement;
  const SubBlockWeights weights = InTypeOf(model.model, given, spec);
  const Transformer child = WithPart(model.model, layer, spec, weights, model.states.length());
  if (HasUnreadBlocks(model.model.weights())) {
    constexpr double kWalk = 0.9;  // the share of the work in front of the head
    const Tensor last = WalkedLastStates(model, child, {layer, spec, weights, before_ffn}, batch,
                                         [&](double fraction) { poll(kWalk * fraction); });
    return MeasureAll(
        child, model, parent, batch,
        [&](int64_t first, int64_t count) {
          return last.narrow(0, first, count).to(child.weights().norm.device());
        },
        [&](double fraction) { poll(kWalk + (1 - kWalk) * fraction); });
  }
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
  const StatesAt last(model, model.model.config().n_layers(), batch, /*in_parts=*/true);
  return MeasureAll(
      model.model, model, parent, batch,
      [&](int64_t first, int64_t count) { return last.Rows(first, count); }, [](double) {});
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
  const auto apart = ApartIfLarge(inputs.Get<Checkpoint>("parent")->model.config, context);
  // Tasks are asked of a model in memory.
  const ScoreSetting setting(inputs, products, params.answers_only(), params.batch, context,
                             /*may_walk=*/!inputs.Has("tasks"));
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
