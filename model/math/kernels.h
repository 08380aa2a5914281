// Elementwise passes over fp32 arrays that libtorch's operators would make several of. Plain
// functions of plain memory, compiled for several instruction sets; the machine's best is taken
// when the program is loaded. One thread each; thread-safe on different data.
#pragma once

#include <cstdint>

namespace puzzle {

/// The bits of a bf16 number.
using Bf16Bits = uint16_t;

/// out[i] = silu(gate[i]) * up[i], computed in fp32.
void GateForward(const float* gate, const float* up, float* out, int64_t n);
void GateForward(const Bf16Bits* gate, const Bf16Bits* up, Bf16Bits* out, int64_t n);

/// The gradients of GateForward by `gate` and `up` for d_out. May overwrite its inputs.
void GateBackward(const float* gate, const float* up, const float* d_out, float* d_gate,
                  float* d_up, int64_t n);
void GateBackward(const Bf16Bits* gate, const Bf16Bits* up, const Bf16Bits* d_out, Bf16Bits* d_gate,
                  Bf16Bits* d_up, int64_t n);

/// Query rows and the keys they may see. Row r belongs to position r / group; it sees keys
/// [first, last) with last = keys - positions + r / group + 1 and first = last - window (0 when
/// window is 0 or larger than last).
struct CausalTile {
  int64_t positions = 0;
  int64_t group = 1;
  int64_t keys = 0;
  int64_t window = 0;  // 0: all keys up to the position itself
  float scale = 1;     // of the scores
};

/// scores [positions * group, keys]: raw products of queries and keys on entry; exp(scale * score -
/// row maximum) on return, 0 where a row may not look. `sum` and `log_sum` get per row the sum of
/// those and the logarithm of the sum of exp(scale * score).
void CausalSoftmax(const CausalTile& tile, float* scores, float* sum, float* log_sum);

/// Backward of the softmax: raw scores and the gradients of the probabilities on entry;
/// probabilities P and the gradients of the scores, scale * P * (d_probability - row_dot), on
/// return.
void CausalSoftmaxBackward(const CausalTile& tile, const float* log_sum, const float* row_dot,
                           float* scores, float* d_probabilities);

/// What is known of rows of logits when some of their words have been seen: log sum_v exp(logit_v)
/// is highest + log(sum). Before the first word: -infinity and 0.
struct RunningLogSum {
  float* highest;  // [rows]
  double* sum;     // [rows]: sum_v exp(logit_v - highest)
};

/// Adds the words of a tile, logits [rows, n].
void AddToLogSum(const float* logits, int64_t rows, int64_t n, const RunningLogSum& running);

/// The same of two models' logits for the same words, for KL(p || q) = cross / p.sum - log_sum_p +
/// log_sum_q with cross = sum_v exp(p_v - p.highest) (p_v - q_v).
void AddToKl(const float* p_logits, const float* q_logits, int64_t rows, int64_t n,
             const RunningLogSum& p, const RunningLogSum& q, double* cross);

/// q_logits = scale * (softmax(q_logits) - softmax(p_logits)), the gradient of scale * KL(p || q)
/// by q_logits, given the logarithms of the rows' sums.
void KlGradient(const float* p_logits, const float* p_log_sum, const float* q_log_sum, float scale,
                int64_t rows, int64_t n, float* q_logits);

/// Adds to `count` in how many places of each row logits [rows, n] are not below `bar[row]`: above
/// it, equal, or one of both NaN; place `own[row]` does not count, if there is one.
void CountNotBelow(const float* logits, const float* bar, const int64_t* own, int64_t rows,
                   int64_t n, int64_t* count);

/// Adds to sum[i], over rows r, sqrt(max(0, base[r] + 2 x[r][i] dot[r][i] + x[r][i]^2 square[i]) +
/// 1e-8): |s_r + x_ri w_i| for vectors s with |s|^2 = base and s w_i = dot, and |w_i|^2 = square. x
/// and dot are [rows, n] in rows of `stride`.
void AddDistances(const float* x, const float* dot, const float* base, const float* square,
                  int64_t rows, int64_t n, int64_t stride, double* sum);

/// One update of AdamW; `grad_scale` multiplies the gradients (clipping).
struct AdamWUpdate {
  float grad_scale = 1;
  float beta1 = 0, beta2 = 0;
  float keep = 1;          // 1 - learning rate * weight decay
  float step_size = 0;     // learning rate / (1 - beta1^t)
  float square_scale = 1;  // 1 / sqrt(1 - beta2^t)
  float eps = 0;
};
void ApplyAdamW(const AdamWUpdate& update, const float* grad, float* value, float* mean,
                float* square, int64_t n);

}  // namespace puzzle
