// What the forms of all sub-blocks have in common. The files of this folder are the only ones that
// tell forms apart: which tensors one has, what it computes, what it is made of. Thread-safe on
// different weights.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>

#include "model/kv_cache.h"
#include "model/math/ops.h"
#include "model/weights.h"

namespace puzzle::block {

/// What a sub-block's answer depends on beside its weights and input.
struct Surroundings {
  const ModelConfig& config;
  const RotaryTable& rotary;
  LayerCache* cache = nullptr;
  int64_t first = 0;  // position of the input's first token
};

/// Called with the name of a slot, as in a checkpoint of Llama, and the slot itself.
using SlotVisitor = std::function<void(std::string name, at::Tensor& slot)>;

/// x * matrix^T + bias in the matrix's type; `bias` may be undefined.
[[nodiscard]] at::Tensor Linear(const at::Tensor& x, const at::Tensor& matrix,
                                const at::Tensor& bias);

/// Tensors without storage.
[[nodiscard]] at::Tensor Shaped(const Shape& shape);
[[nodiscard]] at::Tensor ShapedIf(bool wanted, const Shape& shape);

/// Multiplies the norm's weight into matrices that read its output and leaves no weight, unless the
/// norm has a bias: folded, that would be a bias of matrices that have none.
void FoldInto(at::Tensor& norm, const at::Tensor& norm_bias, const ModelConfig& config,
              std::initializer_list<at::Tensor*> matrices);

/// a + b, where either may be undefined.
[[nodiscard]] at::Tensor Sum(const at::Tensor& a, const at::Tensor& b);
/// W b; undefined when b is.
[[nodiscard]] at::Tensor Through(const at::Tensor& matrix, const at::Tensor& bias);

}  // namespace puzzle::block
