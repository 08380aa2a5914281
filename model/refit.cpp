#include "model/refit.h"

#include "model/pch.h"

namespace puzzle {

using at::Tensor;

namespace {

Tensor SolveRidge(const Tensor& gram, const Tensor& cross, double lambda) {
  Tensor damped = gram.clone();
  damped.diagonal().add_(lambda * gram.diagonal().mean().item<double>());
  return at::linalg_solve(damped, cross).t();
}

}  // namespace

RidgeFit::RidgeFit(int64_t n_features, int64_t n_outputs)
    : gram_(at::zeros({n_features, n_features}, at::kDouble)),
      cross_(at::zeros({n_features, n_outputs}, at::kDouble)),
      feature_sums_(at::zeros({n_features}, at::kDouble)),
      target_sums_(at::zeros({n_outputs}, at::kDouble)) {}

void RidgeFit::Add(const Tensor& features, const Tensor& targets) {
  const at::NoGradGuard no_grad;
  const Tensor transposed = features.t();
  rows_ += static_cast<double>(features.size(0));
  gram_.add_(at::mm(transposed, features).to(at::kCPU, at::kDouble));
  cross_.add_(at::mm(transposed, targets).to(at::kCPU, at::kDouble));
  feature_sums_.add_(features.sum(0, false, at::kDouble).cpu());
  target_sums_.add_(targets.sum(0, false, at::kDouble).cpu());
}

Tensor RidgeFit::Solve(double lambda) const {
  const at::NoGradGuard no_grad;
  return SolveRidge(gram_, cross_, lambda).contiguous().to(at::kFloat);
}

RidgeFit::Affine RidgeFit::SolveAffine(double lambda) const {
  const at::NoGradGuard no_grad;
  const Tensor features = feature_sums_ / rows_, targets = target_sums_ / rows_;  // means
  const Tensor matrix = SolveRidge(gram_ - rows_ * at::outer(features, features),
                                   cross_ - rows_ * at::outer(features, targets), lambda);
  return {matrix.contiguous().to(at::kFloat), (targets - at::mv(matrix, features)).to(at::kFloat)};
}

}  // namespace puzzle
