#include "model/refit.h"

#include <algorithm>

#include "model/math/parallel.h"
#include "model/pch.h"

namespace puzzle {

using at::Tensor;

namespace {

// Damps `gram` for as long as it takes: that of a wide FFN takes more than its weights.
Tensor SolveRidge(Tensor gram, const Tensor& cross, double lambda) {
  Tensor diagonal = gram.diagonal();
  const double mean = diagonal.mean().item<double>();
  if (mean == 0) return at::zeros({cross.size(1), cross.size(0)}, cross.options());
  const Tensor undamped = diagonal.clone();
  diagonal.add_(lambda * mean);
  const Tensor solution = at::linalg_solve(gram, cross).t();
  diagonal.copy_(undamped);
  return solution;
}

// A few rows in fp64 at a time.
void AddTo(const Tensor& sum, const Tensor& product) {
  constexpr int64_t kRows = 256;
  for (int64_t first = 0; first < sum.size(0); first += kRows) {
    const int64_t count = std::min(kRows, sum.size(0) - first);
    sum.narrow(0, first, count).add_(product.narrow(0, first, count).to(at::kCPU, at::kDouble));
  }
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
  // Side by side. Not in pieces: their last bits are the BLAS's choice.
  ParallelFor(2, [&](int64_t which) {
    AddTo(which == 0 ? gram_ : cross_, at::mm(transposed, which == 0 ? features : targets));
  });
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
