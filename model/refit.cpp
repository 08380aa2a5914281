#include "model/refit.h"

#include "model/pch.h"

namespace puzzle {

using at::Tensor;

RidgeFit::RidgeFit(int64_t n_features, int64_t n_outputs)
    : gram_(at::zeros({n_features, n_features}, at::kDouble)),
      cross_(at::zeros({n_features, n_outputs}, at::kDouble)) {}

void RidgeFit::Add(const Tensor& features, const Tensor& targets) {
  const at::NoGradGuard no_grad;
  const Tensor transposed = features.t();
  gram_.add_(at::mm(transposed, features).to(at::kCPU, at::kDouble));
  cross_.add_(at::mm(transposed, targets).to(at::kCPU, at::kDouble));
}

Tensor RidgeFit::Solve(double lambda) const {
  const at::NoGradGuard no_grad;
  Tensor damped = gram_.clone();
  damped.diagonal().add_(lambda * gram_.diagonal().mean().item<double>());
  return at::linalg_solve(damped, cross_).t().contiguous().to(at::kFloat);
}

}  // namespace puzzle
