#include "model/math/kernels.h"

#include <algorithm>
#include <cmath>

#include "model/math/kernel_parts.h"

namespace puzzle {

namespace {

// Sums over a vocabulary are taken in pieces, the pieces' in fp64: the error does not grow with the
// length, nor depend on how many partial sums a vector holds.
constexpr int64_t kSumPiece = 512;

template <class T>
PUZZLE_INLINE void GateForwardOf(const T* gate, const T* up, T* out, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float g = Widen(gate[i]);
    Put(g * Widen(up[i]) * Sigmoid(g), out[i]);
  }
}

// silu'(g) = s (1 + g (1 - s)) with s = sigmoid(g).
template <class T>
PUZZLE_INLINE void GateBackwardOf(const T* gate, const T* up, const T* d_out, T* d_gate, T* d_up,
                                  int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float g = Widen(gate[i]), u = Widen(up[i]), d = Widen(d_out[i]);
    const float sigmoid = Sigmoid(g);
    Put(d * u * sigmoid * (1.0F + g * (1.0F - sigmoid)), d_gate[i]);
    Put(d * g * sigmoid, d_up[i]);
  }
}

// What a sum of exp(x - before) is multiplied by to become one of exp(x - now); an empty sum's
// `before` is -infinity, and so may `now` be.
PUZZLE_INLINE double Shrunk(float before, float now) {
  return before == now ? 1.0 : std::exp(static_cast<double>(before) - now);
}

}  // namespace

PUZZLE_EVERY_ISA
void GateForward(const float* gate, const float* up, float* out, int64_t n) {
  GateForwardOf(gate, up, out, n);
}

PUZZLE_EVERY_ISA
void GateForward(const Bf16Bits* gate, const Bf16Bits* up, Bf16Bits* out, int64_t n) {
  GateForwardOf(gate, up, out, n);
}

PUZZLE_EVERY_ISA
void GateBackward(const float* gate, const float* up, const float* d_out, float* d_gate,
                  float* d_up, int64_t n) {
  GateBackwardOf(gate, up, d_out, d_gate, d_up, n);
}

PUZZLE_EVERY_ISA
void GateBackward(const Bf16Bits* gate, const Bf16Bits* up, const Bf16Bits* d_out, Bf16Bits* d_gate,
                  Bf16Bits* d_up, int64_t n) {
  GateBackwardOf(gate, up, d_out, d_gate, d_up, n);
}

PUZZLE_EVERY_ISA
void CausalSoftmax(const CausalTile& tile, float* scores, float* sum, float* log_sum) {
  for (int64_t r = 0; r < tile.positions * tile.group; ++r) {
    const Visible seen = VisibleKeys(tile, r);
    float* row = scores + r * tile.keys;
    float highest = row[seen.first];
#pragma omp simd reduction(max : highest)
    for (int64_t i = seen.first; i < seen.last; ++i) highest = highest < row[i] ? row[i] : highest;
    const float shift = highest * tile.scale;
    float total = 0;
#pragma omp simd reduction(+ : total)
    for (int64_t i = seen.first; i < seen.last; ++i) {
      const float e = Exp(row[i] * tile.scale - shift);
      row[i] = e;
      total += e;
    }
    ZeroHidden(row, seen, tile.keys);
    sum[r] = total;
    log_sum[r] = shift + std::log(total);
  }
}

PUZZLE_EVERY_ISA
void CausalSoftmaxBackward(const CausalTile& tile, const float* log_sum, const float* row_dot,
                           float* scores, float* d_probabilities) {
  for (int64_t r = 0; r < tile.positions * tile.group; ++r) {
    const Visible seen = VisibleKeys(tile, r);
    float* row = scores + r * tile.keys;
    float* d_row = d_probabilities + r * tile.keys;
    const float shift = log_sum[r], dot = row_dot[r];
#pragma omp simd
    for (int64_t i = seen.first; i < seen.last; ++i) {
      const float p = Exp(row[i] * tile.scale - shift);
      row[i] = p;
      d_row[i] = tile.scale * p * (d_row[i] - dot);
    }
    ZeroHidden(row, seen, tile.keys);
    ZeroHidden(d_row, seen, tile.keys);
  }
}

PUZZLE_EVERY_ISA
void AddToLogSum(const float* logits, int64_t rows, int64_t n, const RunningLogSum& running) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = logits + r * n;
    float highest = running.highest[r];
#pragma omp simd reduction(max : highest)
    for (int64_t i = 0; i < n; ++i) highest = highest < row[i] ? row[i] : highest;
    double total = running.sum[r] * Shrunk(running.highest[r], highest);
    for (int64_t first = 0; first < n; first += kSumPiece) {
      const int64_t last = std::min(n, first + kSumPiece);
      float piece = 0;
#pragma omp simd reduction(+ : piece)
      for (int64_t i = first; i < last; ++i) piece += Exp(row[i] - highest);
      total += piece;
    }
    running.highest[r] = highest;
    running.sum[r] = total;
  }
}

PUZZLE_EVERY_ISA
void AddToKl(const float* p_logits, const float* q_logits, int64_t rows, int64_t n,
             const RunningLogSum& p, const RunningLogSum& q, double* cross) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* x = p_logits + r * n;
    const float* y = q_logits + r * n;
    float max_x = p.highest[r], max_y = q.highest[r];
#pragma omp simd reduction(max : max_x, max_y)
    for (int64_t i = 0; i < n; ++i) {
      max_x = max_x < x[i] ? x[i] : max_x;
      max_y = max_y < y[i] ? y[i] : max_y;
    }
    const double shrunk_x = Shrunk(p.highest[r], max_x);
    double sum_x = p.sum[r] * shrunk_x, sum_y = q.sum[r] * Shrunk(q.highest[r], max_y);
    double total = cross[r] * shrunk_x;
    for (int64_t first = 0; first < n; first += kSumPiece) {
      const int64_t last = std::min(n, first + kSumPiece);
      float piece_x = 0, piece_y = 0, piece_cross = 0;
#pragma omp simd reduction(+ : piece_x, piece_y, piece_cross)
      for (int64_t i = first; i < last; ++i) {
        const float e = Exp(x[i] - max_x);
        piece_x += e;
        piece_y += Exp(y[i] - max_y);
        piece_cross += e * (x[i] - y[i]);
      }
      sum_x += piece_x;
      sum_y += piece_y;
      total += piece_cross;
    }
    p.highest[r] = max_x;
    q.highest[r] = max_y;
    p.sum[r] = sum_x;
    q.sum[r] = sum_y;
    cross[r] = total;
  }
}

PUZZLE_EVERY_ISA
void KlGradient(const float* p_logits, const float* p_log_sum, const float* q_log_sum, float scale,
                int64_t rows, int64_t n, float* q_logits) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* x = p_logits + r * n;
    float* y = q_logits + r * n;
    const float x_shift = p_log_sum[r], y_shift = q_log_sum[r];
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) y[i] = scale * (Exp(y[i] - y_shift) - Exp(x[i] - x_shift));
  }
}

PUZZLE_EVERY_ISA
void CountNotBelow(const float* logits, const float* bar, const int64_t* own, int64_t rows,
                   int64_t n, int64_t* count) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = logits + r * n;
    const float least = bar[r];
    int32_t below = 0;
#pragma omp simd reduction(+ : below)
    for (int64_t i = 0; i < n; ++i) below += row[i] < least ? 1 : 0;
    const bool counted = own[r] >= 0 && own[r] < n && !(row[own[r]] < least);
    count[r] += n - below - (counted ? 1 : 0);
  }
}

PUZZLE_EVERY_ISA
void AddDistances(const float* x, const float* dot, const float* base, const float* square,
                  int64_t rows, int64_t n, int64_t stride, double* sum) {
  constexpr int64_t kWidth = 64, kRows = 64;  // partial sums in fp32: of few rows, in registers
  for (int64_t first = 0; first < n; first += kWidth) {
    const int64_t width = std::min(kWidth, n - first);
    for (int64_t top = 0; top < rows; top += kRows) {
      float part[kWidth] = {};
      for (int64_t r = top; r < std::min(rows, top + kRows); ++r) {
        const float* a = x + r * stride + first;
        const float* d = dot + r * stride + first;
#pragma omp simd
        for (int64_t i = 0; i < width; ++i) {
          const float distance = base[r] + 2.0F * a[i] * d[i] + a[i] * a[i] * square[first + i];
          part[i] += std::sqrt((distance < 0.0F ? 0.0F : distance) + 1e-8F);
        }
      }
      for (int64_t i = 0; i < width; ++i) sum[first + i] += part[i];
    }
  }
}

PUZZLE_EVERY_ISA
void ApplyAdamW(const AdamWUpdate& update, const float* grad, float* value, float* mean,
                float* square, int64_t n) {
  const AdamWUpdate u = update;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float g = grad[i] * u.grad_scale;
    const float m = mean[i] + (1.0F - u.beta1) * (g - mean[i]);
    const float s = u.beta2 * square[i] + (1.0F - u.beta2) * g * g;
    mean[i] = m;
    square[i] = s;
    value[i] = u.keep * value[i] - u.step_size * m / (std::sqrt(s) * u.square_scale + u.eps);
  }
}

}  // namespace puzzle
