// Making a variant out of the parent's sub-block (puzzle.md's "initialising a variant"; paper
// section 3). Thread-safe (pure functions).
#pragma once

#include <ATen/core/Tensor.h>

#include "model/weights.h"

namespace puzzle {

/// The starting weights of `spec` in `layer`:
///   kv heads r -> r': every run of r/r' neighbouring heads is averaged;
///   FFN smaller: the first `size` channels of `channel_order` (most important first, int64
///   [parent size]; undefined: truncation), kept in their original order;
///   linear: W_o * repeat(W_v) or W_down * W_up.
/// At the parent's own shape the result equals the parent bit for bit. Fresh storage, detached.
/// REQUIRES: spec came from ResolveVariant for this parent and layer.
[[nodiscard]] SubBlockWeights InitVariant(const ModelWeights& parent, int64_t layer,
                                          const VariantSpec& spec,
                                          const at::Tensor& channel_order = {});

}  // namespace puzzle
