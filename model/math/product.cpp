#include "model/math/product.h"

#include <algorithm>

#include <fmt/format.h>

#include "io/error.h"
#include "model/math/runtime.h"
#include "model/pch.h"

#ifdef PUZZLE_HAS_ONEDNN
#include <oneapi/dnnl/dnnl.hpp>
#endif

namespace puzzle {

using at::Tensor;

namespace {

// bf16 operands, which are widened, and that is exact, a tile at a time: a vocabulary's matrix as a
// whole would take as much again as its gradient.
void MultiplyWidened(const Tensor& a, const Tensor& b, const Tensor& out, Into into) {
  constexpr int64_t kTile = 256, kDepth = 1024;
  const int64_t m = out.size(0), n = out.size(1), k = a.size(1);
  const auto widened = [](const Tensor& matrix, int64_t row, int64_t rows, int64_t column,
                          int64_t columns) {
    return matrix.narrow(0, row, rows).narrow(1, column, columns).to(at::kFloat);
  };
  for (int64_t row = 0; row < m; row += kTile) {
    for (int64_t column = 0; column < n; column += kTile) {
      const int64_t rows = std::min(kTile, m - row), columns = std::min(kTile, n - column);
      const Tensor tile = out.narrow(0, row, rows).narrow(1, column, columns);
      const bool is_float = out.scalar_type() == at::kFloat;
      Tensor sum = is_float ? tile : at::empty({rows, columns}, tile.options().dtype(at::kFloat));
      for (int64_t done = 0; done < k; done += kDepth) {
        const int64_t depth = std::min(kDepth, k - done);
        const Tensor left = widened(a, row, rows, done, depth),
                     right = widened(b, done, depth, column, columns);
        if (done > 0 || into == Into::kAdd) {
          sum.addmm_(left, right);
        } else {
          at::mm_out(sum, left, right);
        }
      }
      if (!is_float) tile.copy_(sum);
    }
  }
}

// fp32 operands only; others are widened.
void MultiplyByLibtorch(const Tensor& a, const Tensor& b, Tensor out, Into into) {
  const bool in_tiles = a.device().is_cpu() && a.scalar_type() == at::kBFloat16 && a.size(1) > 0;
  if (in_tiles) return MultiplyWidened(a, b, out, into);
  const Tensor left = a.to(at::kFloat), right = b.to(at::kFloat);
  if (into == Into::kAdd) {
    out.addmm_(left, right);
  } else if (out.scalar_type() != at::kFloat) {
    out.copy_(at::mm(left, right));
  } else {
    at::mm_out(out, left, right);
  }
}

#ifdef PUZZLE_HAS_ONEDNN

// Another libtorch may bring another oneDNN, whose functions would then be called by these headers.
bool SameOneDnn() {
  static const bool same = [] {
    const dnnl_version_t* running = dnnl_version();
    return running->major == DNNL_VERSION_MAJOR && running->minor == DNNL_VERSION_MINOR;
  }();
  return same;
}

dnnl::engine& Cpu() {
  static dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

// The strides of a dimension of one element may be anything.
bool RowMajor(const Tensor& m) {
  return (m.stride(1) == 1 || m.size(1) == 1) && (m.stride(0) >= m.size(1) || m.size(0) == 1);
}
bool ColumnMajor(const Tensor& m) {
  return (m.stride(0) == 1 || m.size(0) == 1) && (m.stride(1) >= m.size(0) || m.size(1) == 1);
}

// The same matrix, lying as oneDNN can read it.
Tensor Readable(const Tensor& matrix) {
  return RowMajor(matrix) || ColumnMajor(matrix) ? matrix : matrix.contiguous();
}

// REQUIRES: Readable.
dnnl::memory View(const Tensor& m) {
  const auto type = m.scalar_type() == at::kBFloat16 ? dnnl::memory::data_type::bf16
                                                     : dnnl::memory::data_type::f32;
  const dnnl::memory::dims strides = RowMajor(m)
                                         ? dnnl::memory::dims{std::max(m.stride(0), m.size(1)), 1}
                                         : dnnl::memory::dims{1, std::max(m.stride(1), m.size(0))};
  return {{{m.size(0), m.size(1)}, type, strides}, Cpu(), m.data_ptr()};
}

// Making the primitive takes 5 us: oneDNN keeps a cache of them.
void MultiplyByOneDnn(const Tensor& a, const Tensor& b, const Tensor& out, Into into) {
  const Tensor left = Readable(a), right = Readable(b);
  const dnnl::memory source = View(left), weights = View(right), result = View(out);
  dnnl::primitive_attr attributes;
  if (into == Into::kAdd) {
    dnnl::post_ops after;
    after.append_sum(1.0F);
    attributes.set_post_ops(after);
  }
  const dnnl::matmul::desc what(source.get_desc(), weights.get_desc(), result.get_desc());
  const dnnl::matmul product(dnnl::matmul::primitive_desc(what, attributes, Cpu()));
  dnnl::stream stream(Cpu());
  product.execute(stream,
                  {{DNNL_ARG_SRC, source}, {DNNL_ARG_WEIGHTS, weights}, {DNNL_ARG_DST, result}});
  stream.wait();
}

#endif

}  // namespace

void Multiply(const Tensor& a, const Tensor& b, const Tensor& out, Into into) {
  PUZZLE_CHECK(a.dim() == 2 && b.dim() == 2 && a.size(1) == b.size(0) && out.size(0) == a.size(0) &&
                   out.size(1) == b.size(1) && a.scalar_type() == b.scalar_type() &&
                   (out.scalar_type() == at::kFloat ||
                    (out.scalar_type() == at::kBFloat16 && into == Into::kOverwrite)) &&
                   (out.is_contiguous() || out.stride(1) == 1),
               "operands of a product");
  if (out.numel() == 0) return;
#ifdef PUZZLE_HAS_ONEDNN
  const bool known =
      (a.scalar_type() == at::kFloat && out.scalar_type() == at::kFloat) || HasFastBf16("cpu");
  if (a.device().is_cpu() && a.size(1) > 0 && known && SameOneDnn())
    return MultiplyByOneDnn(a, b, out, into);
#endif
  MultiplyByLibtorch(a, b, out, into);
}

Tensor Product(const Tensor& a, const Tensor& b) {
  Tensor out = at::empty({a.size(0), b.size(1)}, a.options().dtype(at::kFloat));
  Multiply(a, b, out);
  return out;
}

std::string ProductLibrary() {
#ifdef PUZZLE_HAS_ONEDNN
  if (SameOneDnn()) {
    const dnnl_version_t* version = dnnl_version();
    return fmt::format("oneDNN {}.{}.{}", version->major, version->minor, version->patch);
  }
#endif
  return "libtorch";
}

}  // namespace puzzle
