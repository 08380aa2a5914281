// Everything that differs between libtorch 1.13 (Debian) and 2.x. Thread-safe.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "model/math/ops.h"

namespace puzzle {

/// CausalAttention for devices other than the CPU: libtorch's fused kernel where it has one, plain
/// operators otherwise. Shapes as in model/math/ops.h. REQUIRES: scores.scale is not 0.
[[nodiscard]] at::Tensor DeviceAttention(const at::Tensor& q, const at::Tensor& k,
                                         const at::Tensor& v, int64_t window,
                                         const AttentionScores& scores);

/// Version of the libtorch that is running, "1.13.1".
[[nodiscard]] std::string LibtorchVersion();

}  // namespace puzzle
