#include "model/block/sub_block.h"

#include "model/math/product.h"
#include "model/pch.h"

namespace puzzle::block {

using at::Tensor;

Tensor Linear(const Tensor& x, const Tensor& matrix, const Tensor& bias) {
  const auto type = matrix.scalar_type();
  const bool recorded =
      at::GradMode::is_enabled() &&
      (x.requires_grad() || matrix.requires_grad() || (bias.defined() && bias.requires_grad()));
  if (type == at::kFloat && !recorded) {
    std::vector<int64_t> shape = x.sizes().vec();
    const Tensor out = Product(x.to(type).reshape({-1, shape.back()}), matrix.t());
    shape.back() = matrix.size(0);
    return (bias.defined() ? out.add_(bias) : out).view(shape);
  }
  return bias.defined() ? at::linear(x.to(type), matrix, bias.to(type))
                        : at::linear(x.to(type), matrix);
}

Tensor Shaped(const Shape& shape) {
  return at::empty(shape, at::TensorOptions().device(at::kMeta).dtype(at::kFloat));
}

Tensor ShapedIf(bool wanted, const Shape& shape) {
  return wanted ? Shaped(shape) : Tensor();
}

void FoldInto(Tensor& norm, const Tensor& norm_bias, const ModelConfig& config,
              std::initializer_list<Tensor*> matrices) {
  if (norm_bias.defined()) return;
  for (Tensor* matrix : matrices)
    if (matrix->defined()) *matrix = *matrix * NormScale(norm, config);
  norm = Tensor();
}

Tensor Sum(const Tensor& a, const Tensor& b) {
  return !a.defined() ? b : !b.defined() ? a : a + b;
}

Tensor Through(const Tensor& matrix, const Tensor& bias) {
  return bias.defined() ? at::mv(matrix, bias) : Tensor();
}

}  // namespace puzzle::block
