// Products of large matrices without autograd: through oneDNN, which libtorch brings along, where
// the build found its headers; else through libtorch's own operators. Beside what `at::mm` does it
// takes bf16 operands to an fp32 result, and for the shapes of a language model it is faster than
// the BLAS (bench/README.md). Thread-safe; through oneDNN each call computes on as many threads as
// the calling thread may use, else on one, and the result does not depend on their number.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace puzzle {

enum class Into { kOverwrite, kAdd };

/// out = a * b, or out += a * b. a [m, k] and b [k, n] are both fp32 or both bf16, row-major or
/// transposed views of such; out [m, n] is row-major and fp32, or bf16 where it is overwritten.
/// Products and sums are taken in fp32: bf16 operands lose nothing that their rounding has not.
/// REQUIRES: one device; `out` is neither.
void Multiply(const at::Tensor& a, const at::Tensor& b, const at::Tensor& out,
              Into into = Into::kOverwrite);

/// a * b in a new tensor.
[[nodiscard]] at::Tensor Product(const at::Tensor& a, const at::Tensor& b);

/// "oneDNN 2.6.3" or "libtorch": who computes products on the CPU.
[[nodiscard]] std::string ProductLibrary();

}  // namespace puzzle
