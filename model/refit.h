// Closed-form least squares for a sub-block's last matrix and bias: the best ones for given
// features cost one pass and one solve. It is the whole training of a linear variant and the
// starting point of a pruned one.
#pragma once

#include <ATen/core/Tensor.h>

namespace puzzle {

/// Ridge regression on streamed Gram matrices: W = Y^T X (X^T X + lambda * mean(diag) * I)^-1.
/// One object belongs to one thread; it computes with as many as SetThreads allows, and to the same
/// result.
class RidgeFit {
 public:
  RidgeFit(int64_t n_features, int64_t n_outputs);

  /// Adds rows: features [n, n_features], targets [n, n_outputs], fp32.
  void Add(const at::Tensor& features, const at::Tensor& targets);
  /// The solution in fp32, [n_outputs, n_features], solved in fp64; zeros for features that are 0
  /// in all rows. REQUIRES: rows were added.
  [[nodiscard]] at::Tensor Solve(double lambda = 1e-4) const;

  struct Affine {
    at::Tensor matrix, bias;  // [n_outputs, n_features], [n_outputs]
  };
  /// The best matrix and bias together: the same for what deviates from the means. The bias is not
  /// damped.
  [[nodiscard]] Affine SolveAffine(double lambda = 1e-4) const;

 private:
  double rows_ = 0;
  at::Tensor gram_;          // [n_features, n_features], fp64
  at::Tensor cross_;         // [n_features, n_outputs], fp64
  at::Tensor feature_sums_;  // [n_features], fp64
  at::Tensor target_sums_;   // [n_outputs], fp64
};

}  // namespace puzzle
