// `activations`: one forward pass of the parent feeds everything that needs its hidden states.
#pragma once

#include "graph/kind/kind.h"
#include "nodes/data/artifacts.h"
#include "nodes/states/artifacts.h"
#include "nodes/states/kinds.h"

namespace puzzle {

/// The smallest stride with which the kept states of `layout` need at most `max_mib` (0: no limit);
/// 0 when not even one fits.
[[nodiscard]] int64_t StrideWithin(const Activations::Layout& layout, int64_t max_mib);

/// Streams the parent's hidden state at every layer's input and behind the last layer, or those
/// that the parameters leave. Where nothing is kept the parent does not run.
void RunActivations(const ActivationsParams& params, const Inputs& inputs, RunContext& context,
                    ArchiveWriter& out);

/// Throws Error, naming the model as `who`, unless `tokens` can be fed to it: ids within the
/// vocabulary, sequences within the positions.
void CheckTokensFit(const TokenSet& tokens, const ModelConfig& config,
                    const std::string& who = "the model");

}  // namespace puzzle
