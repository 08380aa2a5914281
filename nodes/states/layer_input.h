// A model's hidden states, whether they were kept or not. Thread-compatible.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
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

/// The states at the inputs of all layers and behind the last one, of the sequences `rows`.
[[nodiscard]] std::vector<at::Tensor> LayerInputs(const Transformer& model,
                                                  const Activations& states,
                                                  const std::vector<int64_t>& rows);

}  // namespace puzzle
