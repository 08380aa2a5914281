// A model's hidden states, whether they were kept or not. Thread-compatible.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "model/transformer.h"
#include "nodes/states/artifacts.h"

namespace puzzle {

/// The state at the input of `layer` (behind the last one for n_layers) of sequences [first, first
/// + count), fp32 [count, length, hidden] on the model's device: read if it was kept, else computed
/// from the nearest one below that was, at last from the tokens. REQUIRES: `states` were captured
/// from `model`.
[[nodiscard]] at::Tensor LayerInput(const Transformer& model, const Activations& states,
                                    int64_t layer, int64_t first, int64_t count);

/// The nearest layer at or below `layer` whose input was kept; else 0, where the tokens are.
[[nodiscard]] int64_t StartBelow(const Activations& states, int64_t layer);

/// What LayerInput needs of `model` for `layer` (n_layers: the state behind the last one), and
/// block `layer` itself where there is one, in memory on `device`: one block where all states were
/// kept.
[[nodiscard]] ModelWeights LayerOf(const ModelWeights& model, const Activations& states,
                                   int64_t layer, const std::string& device);

/// The states at the inputs of all layers and behind the last one, of the sequences `rows`.
[[nodiscard]] std::vector<at::Tensor> LayerInputs(const Transformer& model,
                                                  const Activations& states,
                                                  const std::vector<int64_t>& rows);

}  // namespace puzzle
