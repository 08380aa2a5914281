#include "model/math/block_kernels.h"

#include <cmath>

#include "model/math/kernel_parts.h"

namespace puzzle {

namespace {

// The place of a head's row among groups.
PUZZLE_INLINE int64_t GroupRow(const HeadLayout& layout, int64_t position, int64_t head) {
  return (head / layout.group * layout.positions + position) * layout.group + head % layout.group;
}

// One head turned by its angles, or by their negatives.
template <class From>
PUZZLE_INLINE void PutHead(const From* from, const float* cos, const float* sin, float direction,
                           float factor, int64_t dim, Bf16Bits* to) {
  if (cos == nullptr) {
#pragma omp simd
    for (int64_t i = 0; i < dim; ++i) Put(from[i] * factor, to[i]);
    return;
  }
  const int64_t half = dim / 2;
#pragma omp simd
  for (int64_t i = 0; i < half; ++i) {
    const float a = from[i] * factor, b = from[half + i] * factor, s = direction * sin[i];
    Put(a * cos[i] - b * s, to[i]);
    Put(b * cos[i] + a * s, to[half + i]);
  }
}

PUZZLE_INLINE void NormRow(const float* x, const float* weight, float r, int64_t n, Bf16Bits* out) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) Put(x[i] * r * weight[i], out[i]);
}

}  // namespace

PUZZLE_EVERY_ISA
void RmsNormForward(const float* x, const float* weight, float eps, int64_t rows, int64_t n,
                    Bf16Bits* out, float* inverse_rms) {
  for (int64_t row = 0; row < rows; ++row, x += n, out += n) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; ++i) sum += x[i] * x[i];
    const float r = 1.0F / std::sqrt(sum / static_cast<float>(n) + eps);
    inverse_rms[row] = r;
    NormRow(x, weight, r, n, out);
  }
}

PUZZLE_EVERY_ISA
void RmsNormAgain(const float* x, const float* weight, const float* inverse_rms, int64_t rows,
                  int64_t n, Bf16Bits* out) {
  for (int64_t row = 0; row < rows; ++row, x += n, out += n)
    NormRow(x, weight, inverse_rms[row], n, out);
}

// With x^ = x r and g = d_out * weight: d_x = r (g - x^ mean(g x^)), d_weight = sum d_out x^.
PUZZLE_EVERY_ISA
void RmsNormBackward(const float* x, const float* weight, const float* inverse_rms,
                     const float* d_out, const float* d_residual, int64_t rows, int64_t n,
                     float* d_x, float* d_weight) {
  for (int64_t row = 0; row < rows; ++row, x += n, d_out += n, d_residual += n, d_x += n) {
    const float r = inverse_rms[row];
    float dot = 0;
#pragma omp simd reduction(+ : dot)
    for (int64_t i = 0; i < n; ++i) dot += d_out[i] * weight[i] * x[i];
    const float along = dot * r * r / static_cast<float>(n);
#pragma omp simd
    for (int64_t i = 0; i < n; ++i)
      d_x[i] = d_residual[i] + r * (d_out[i] * weight[i] - x[i] * along);
    if (d_weight == nullptr) continue;
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) d_weight[i] += d_out[i] * x[i] * r;
  }
}

PUZZLE_EVERY_ISA
void HeadsToGroups(const HeadLayout& layout, const float* heads, const HeadRotation& rotation,
                   Bf16Bits* groups) {
  const int64_t dim = layout.dim, half = rotation.cos == nullptr ? 0 : dim / 2;
  for (int64_t position = 0; position < layout.positions; ++position) {
    const float* cos = rotation.cos == nullptr ? nullptr : rotation.cos + position * half;
    const float* sin = rotation.cos == nullptr ? nullptr : rotation.sin + position * half;
    for (int64_t head = 0; head < layout.heads; ++head)
      PutHead(heads + (position * layout.heads + head) * dim, cos, sin, 1.0F, 1.0F, dim,
              groups + GroupRow(layout, position, head) * dim);
  }
}

PUZZLE_EVERY_ISA
void GroupsToHeads(const HeadLayout& layout, const float* groups, const float* divisor,
                   const HeadRotation& rotation, Bf16Bits* heads) {
  const int64_t dim = layout.dim, half = rotation.cos == nullptr ? 0 : dim / 2;
  for (int64_t position = 0; position < layout.positions; ++position) {
    const float* cos = rotation.cos == nullptr ? nullptr : rotation.cos + position * half;
    const float* sin = rotation.cos == nullptr ? nullptr : rotation.sin + position * half;
    for (int64_t head = 0; head < layout.heads; ++head) {
      const int64_t row = GroupRow(layout, position, head);
      PutHead(groups + row * dim, cos, sin, -1.0F, divisor == nullptr ? 1.0F : 1.0F / divisor[row],
              dim, heads + (position * layout.heads + head) * dim);
    }
  }
}

PUZZLE_EVERY_ISA
void HeadDots(const HeadLayout& layout, const float* a, const Bf16Bits* b, float* dots) {
  for (int64_t position = 0; position < layout.positions; ++position) {
    for (int64_t head = 0; head < layout.heads; ++head) {
      const int64_t first = (position * layout.heads + head) * layout.dim;
      float dot = 0;
#pragma omp simd reduction(+ : dot)
      for (int64_t i = first; i < first + layout.dim; ++i) dot += a[i] * Widen(b[i]);
      dots[GroupRow(layout, position, head)] = dot;
    }
  }
}

PUZZLE_EVERY_ISA
void CausalSoftmax(const CausalTile& tile, const float* scores, Bf16Bits* exponentials, float* sum,
                   float* log_sum) {
  for (int64_t r = 0; r < tile.positions * tile.group; ++r) {
    const Visible seen = VisibleKeys(tile, r);
    const float* row = scores + r * tile.keys;
    Bf16Bits* out = exponentials + r * tile.keys;
    float highest = row[seen.first];
#pragma omp simd reduction(max : highest)
    for (int64_t i = seen.first; i < seen.last; ++i) highest = highest < row[i] ? row[i] : highest;
    const float shift = highest * tile.scale;
    float total = 0;
#pragma omp simd reduction(+ : total)
    for (int64_t i = seen.first; i < seen.last; ++i) {
      const float e = Exp(row[i] * tile.scale - shift);
      Put(e, out[i]);
      total += e;
    }
    ZeroHidden(out, seen, tile.keys);
    sum[r] = total;
    log_sum[r] = shift + std::log(total);
  }
}

PUZZLE_EVERY_ISA
void CausalSoftmaxBackward(const CausalTile& tile, const float* log_sum, const float* row_dot,
                           const float* scores, const float* d_probabilities,
                           Bf16Bits* probabilities, Bf16Bits* d_scores) {
  for (int64_t r = 0; r < tile.positions * tile.group; ++r) {
    const Visible seen = VisibleKeys(tile, r);
    const float* row = scores + r * tile.keys;
    const float* d_row = d_probabilities + r * tile.keys;
    Bf16Bits* p_out = probabilities + r * tile.keys;
    Bf16Bits* s_out = d_scores + r * tile.keys;
    const float shift = log_sum[r], dot = row_dot[r];
#pragma omp simd
    for (int64_t i = seen.first; i < seen.last; ++i) {
      const float p = Exp(row[i] * tile.scale - shift);
      Put(p, p_out[i]);
      Put(tile.scale * p * (d_row[i] - dot), s_out[i]);
    }
    ZeroHidden(p_out, seen, tile.keys);
    ZeroHidden(s_out, seen, tile.keys);
  }
}

PUZZLE_EVERY_ISA
void RowDots(const float* x, const float* y, int64_t rows, int64_t n, float* dot, float* x_square,
             float* y_square) {
  for (int64_t row = 0; row < rows; ++row, x += n, y += n) {
    float xy = 0, xx = 0, yy = 0;
#pragma omp simd reduction(+ : xy, xx, yy)
    for (int64_t i = 0; i < n; ++i) {
      xy += x[i] * y[i];
      xx += x[i] * x[i];
      yy += y[i] * y[i];
    }
    dot[row] = xy;
    x_square[row] = xx;
    y_square[row] = yy;
  }
}

}  // namespace puzzle
