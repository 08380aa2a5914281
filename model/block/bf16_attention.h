// Causal attention of a training whose products are in bf16, on the CPU and without autograd: the
// tiles of causal_attention.cpp with operands that lie as the products want them. Thread-safe on
// different data.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace puzzle::block {

/// Heads in bf16. A problem is one kv head of one sequence; its queries are those of all heads that
/// share it, position-major.
struct GroupedHeads {
  at::Tensor q;     // [problems, positions * group, dim], rotated
  at::Tensor k, v;  // [problems, positions, dim], k rotated
  int64_t group = 1;
  int64_t window = 0;  // keys that a query sees; 0: all up to its own
  double scale = 1;    // of the scores
};

/// softmax(scale q k^T) v and what its gradients need of it.
struct GroupedAttention {
  at::Tensor mixed;    // as q, fp32, to be divided by `sum`
  at::Tensor sum;      // [problems, positions * group]
  at::Tensor log_sum;  // the same: log sum exp(scale q k^T)
};
[[nodiscard]] GroupedAttention Attend(const GroupedHeads& heads);

/// Gradients in fp32, shaped as q, k, v.
struct GroupedGradients {
  at::Tensor q, k, v;
};
/// For `d_mixed`, the gradient of mixed / sum, in bf16; `row_dot` [problems, positions * group] is
/// its product with that, row by row.
[[nodiscard]] GroupedGradients AttendBackward(const GroupedHeads& heads, const at::Tensor& log_sum,
                                              const at::Tensor& d_mixed, const at::Tensor& row_dot);

}  // namespace puzzle::block
