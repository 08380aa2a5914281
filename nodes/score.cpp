#include "nodes/score.h"

#include <algorithm>

#include <fmt/format.h>

#include "io/error.h"
#include "model/pch.h"
#include "nodes/sub_block_data.h"

namespace puzzle {

using at::Tensor;

TokenMetrics ScoreReplacement(const Transformer& parent, int64_t layer, const VariantSpec& spec,
                              const SubBlockWeights& weights, const Activations& activations,
                              int64_t batch, const std::function<void(double)>& poll) {
  const at::NoGradGuard no_grad;
  ModelWeights replaced = parent.weights();
  Replace(replaced, layer, spec, weights);
  const Transformer child(replaced, activations.length());
  const at::Device device = replaced.embedding.device();
  const int64_t layers = parent.config().n_layers();
  TokenMetrics metrics;
  for (int64_t first = 0; first < activations.sequences(); first += batch) {
    const int64_t count = std::min(batch, activations.sequences() - first);
    const Tensor x = activations.Read(layer, first, count).to(device);
    const Tensor last = activations.Read(layers, first, count).to(device);
    const HeadInput child_head{PredictingStates(child.FinalNorm(child.Blocks(x, layer, layers))),
                               replaced.HeadMatrix()};
    const HeadInput parent_head{PredictingStates(parent.FinalNorm(last)),
                                parent.weights().HeadMatrix()};
    metrics +=
        Measure(child_head, NextTokens(activations.Ids(first, count).to(device)), &parent_head);
    poll(static_cast<double>(first + count) / static_cast<double>(activations.sequences()));
  }
  return metrics;
}

double ParentNll(const Transformer& parent, const Activations& activations, int64_t batch) {
  const at::NoGradGuard no_grad;
  const at::Device device = parent.weights().embedding.device();
  TokenMetrics metrics;
  for (int64_t first = 0; first < activations.sequences(); first += batch) {
    const int64_t count = std::min(batch, activations.sequences() - first);
    const Tensor last = activations.Read(parent.config().n_layers(), first, count).to(device);
    metrics += Measure({PredictingStates(parent.FinalNorm(last)), parent.weights().HeadMatrix()},
                       NextTokens(activations.Ids(first, count).to(device)), nullptr);
  }
  return metrics.MeanNll();
}

Score RunScore(const ScoreParams& params, const Inputs& inputs, RunContext& context) {
  const auto parent = inputs.One<Checkpoint>("parent");
  const auto checkpoint = parent.Load();
  const auto activations = inputs.One<Activations>("activations");
  const auto states = activations.Load();
  CheckActivations(*states, parent.digest(), checkpoint->model.config);
  const auto block = inputs.Get<Block>("block");
  const std::string device = context.device().name();
  const Transformer model(ToDevice(checkpoint->model, device));
  Score score;
  score.layer = block->layer;
  score.variant = block->variant;
  score.spec = block->spec;
  score.parent_nll = *context.Resident<double>(
      fmt::format("parent-nll {} {}", parent.digest(), activations.digest()), [&] {
        auto nll = std::make_shared<const double>(ParentNll(model, *states, params.batch));
        return SizedValue{nll, sizeof(double)};
      });
  SubBlockWeights weights;
  if (block->parents_own) {
    weights = SubBlockOf(model.weights(), block->layer, WhichSubBlock(block->spec));
  } else {
    weights = block->Weights();
    for (auto& [name, slot] : Slots(weights, block->spec)) *slot = slot->to(at::Device(device));
  }
  score.metrics = ScoreReplacement(model, block->layer, block->spec, weights, *states, params.batch,
                                   [&](double fraction) { context.Poll(fraction); });
  return score;
}

}  // namespace puzzle
