// What lies between the bf16 products of a block in training: norms, rotary embedding, causal
// softmax, each one pass over memory that reads fp32 and writes what the next product reads. Plain
// functions of plain memory, as in kernels.h. One thread each; thread-safe on different data.
#pragma once

#include <cstdint>

#include "model/math/kernels.h"

namespace puzzle {

/// x [rows, n]: out = x * r * weight with r = 1 / sqrt(mean(x^2) + eps), which goes to
/// `inverse_rms` [rows].
void RmsNormForward(const float* x, const float* weight, float eps, int64_t rows, int64_t n,
                    Bf16Bits* out, float* inverse_rms);
/// What RmsNormForward put out, of its `inverse_rms`.
void RmsNormAgain(const float* x, const float* weight, const float* inverse_rms, int64_t rows,
                  int64_t n, Bf16Bits* out);
/// d_x = d_residual + the gradient of the norm by x for `d_out`; adds that by the weight to
/// `d_weight` [n], unless it is null.
void RmsNormBackward(const float* x, const float* weight, const float* inverse_rms,
                     const float* d_out, const float* d_residual, int64_t rows, int64_t n,
                     float* d_x, float* d_weight);

/// The heads of one sequence: [positions, heads, dim], or by groups of those that share a kv head:
/// [heads / group, positions, group, dim].
struct HeadLayout {
  int64_t positions, heads, group, dim;
};
/// Cosines and sines [positions, dim / 2] of a rotation; null: none.
struct HeadRotation {
  const float* cos = nullptr;
  const float* sin = nullptr;
};
/// Rotates, rounds, and puts groups first.
void HeadsToGroups(const HeadLayout& layout, const float* heads, const HeadRotation& rotation,
                   Bf16Bits* groups);
/// The way back, with the inverse rotation. Each row of `groups` is divided by `divisor`, [heads /
/// group, positions, group], unless that is null.
void GroupsToHeads(const HeadLayout& layout, const float* groups, const float* divisor,
                   const HeadRotation& rotation, Bf16Bits* heads);
/// dots [heads / group, positions, group]: the products a * b of every head.
void HeadDots(const HeadLayout& layout, const float* a, const Bf16Bits* b, float* dots);

/// CausalSoftmax of kernels.h, which leaves exp(...) in `exponentials`, rounded.
void CausalSoftmax(const CausalTile& tile, const float* scores, Bf16Bits* exponentials, float* sum,
                   float* log_sum);
/// CausalSoftmaxBackward of kernels.h with its results rounded and put elsewhere.
void CausalSoftmaxBackward(const CausalTile& tile, const float* log_sum, const float* row_dot,
                           const float* scores, const float* d_probabilities,
                           Bf16Bits* probabilities, Bf16Bits* d_scores);

/// Rows of two matrices [rows, n]: dot = x y, x_square = |x|^2, y_square = |y|^2.
void RowDots(const float* x, const float* y, int64_t rows, int64_t n, float* dot, float* x_square,
             float* y_square);

}  // namespace puzzle
