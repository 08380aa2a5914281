// `activations`: one forward pass of the parent feeds everything that needs its hidden states.
#pragma once

#include "graph/node.h"
#include "nodes/artifacts.h"
#include "nodes/params.h"

namespace puzzle {

/// Streams the parent's hidden state at every layer's input and behind the last layer.
void RunActivations(const ActivationsParams& params, const Inputs& inputs, RunContext& context,
                    ArchiveWriter& out);

/// Throws Error unless `tokens` can be fed to `config`: ids within the vocabulary, sequences within
/// the positions.
void CheckTokensFit(const TokenSet& tokens, const ModelConfig& config);

}  // namespace puzzle
