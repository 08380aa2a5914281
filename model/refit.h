// Closed-form least squares for a sub-block's last matrix: the best output matrix for given
// features costs one pass and one solve. It is the whole training of a linear variant and the
// starting point of a pruned one.
#pragma once

#include <ATen/core/Tensor.h>

namespace puzzle {

/// Ridge regression on streamed Gram matrices: W = Y^T X (X^T X + lambda * mean(diag) * I)^-1.
/// One object belongs to one thread.
class RidgeFit {
 public:
  RidgeFit(int64_t n_features, int64_t n_outputs);

  /// Adds rows: features [n, n_features], targets [n, n_outputs], fp32.
  void Add(const at::Tensor& features, const at::Tensor& targets);
  /// The solution in fp32, [n_outputs, n_features], solved in fp64. REQUIRES: rows were added.
  [[nodiscard]] at::Tensor Solve(double lambda = 1e-4) const;

 private:
  at::Tensor gram_;   // [n_features, n_features], fp64
  at::Tensor cross_;  // [n_features, n_outputs], fp64
};

}  // namespace puzzle
