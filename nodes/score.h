// `score`: how much worse does the parent get when one sub-block is replaced? (paper section 4.2)
#pragma once

#include "graph/node.h"
#include "model/transformer.h"
#include "nodes/artifacts.h"
#include "nodes/params.h"

namespace puzzle {

/// Metrics of the parent with `variant` in place of one sub-block, on captured activations. Starts
/// at that layer from the cached hidden state; the parent's logits come from its cached last state.
[[nodiscard]] TokenMetrics ScoreReplacement(const Transformer& parent, int64_t layer,
                                            const VariantSpec& spec, const SubBlockWeights& weights,
                                            const Activations& activations, int64_t batch,
                                            const std::function<void(double)>& poll);

/// NLL of the parent itself from its cached last state.
[[nodiscard]] double ParentNll(const Transformer& parent, const Activations& activations,
                               int64_t batch);

[[nodiscard]] Score RunScore(const ScoreParams& params, const Inputs& inputs, RunContext& context);

}  // namespace puzzle
