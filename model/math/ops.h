// The differentiable pieces of a block that plain operators would compute in many passes:
// norms, rotary embedding, SwiGLU gate, causal attention. Each has its own backward. Results do
// not depend on the number of threads. Thread-safe (pure functions).
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "model/shape/config.h"

namespace puzzle {

/// x / sqrt(mean(x^2) + eps) over the last dimension, without a weight.
[[nodiscard]] at::Tensor NormalizeRms(const at::Tensor& x, double eps);
/// NormalizeRms(x) * weight; differentiable in both.
[[nodiscard]] at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps);

/// The norm of a model's sub-blocks, without weight and bias.
[[nodiscard]] at::Tensor Normalize(const at::Tensor& x, const ModelConfig& config);
/// Normalize(x) * weight (+ bias where it is defined); differentiable in all.
[[nodiscard]] at::Tensor Norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                              const ModelConfig& config);

/// What a norm's weight multiplies by: itself, or 1 + itself.
[[nodiscard]] at::Tensor NormScale(const at::Tensor& weight, const ModelConfig& config);

/// silu(gate) * up; differentiable in both.
[[nodiscard]] at::Tensor SwiGlu(const at::Tensor& gate, const at::Tensor& up);
/// activation(gate) * up; differentiable in both.
[[nodiscard]] at::Tensor Gate(const at::Tensor& gate, const at::Tensor& up,
                              Architecture::Activation activation);

/// The function between the matrices of an FFN without gate.
[[nodiscard]] at::Tensor Activate(const at::Tensor& x, Architecture::Activation activation);

/// Cosines and sines of a model's rotary embedding, computed for positions when they are first
/// used: a context of millions costs nothing by itself. Copies share them; thread-safe.
class RotaryTable {
 public:
  /// No rotation.
  RotaryTable() = default;
  RotaryTable(const RopeConfig& rope, int64_t head_dim, int64_t positions,
              const at::Device& device);

  /// All tables of a model: sequences have at most `positions` tokens. Undefined when positions are
  /// learned.
  RotaryTable(const ModelConfig& config, int64_t positions, const at::Device& device);

  [[nodiscard]] bool defined() const { return state_ != nullptr; }
  /// The table of a sub-block: attention with a window may have its own.
  [[nodiscard]] const RotaryTable& For(const AttentionSpec& spec) const {
    return spec.window > 0 && windowed_ != nullptr ? *windowed_ : *this;
  }
  struct Rows {
    at::Tensor cos, sin;  // [count, rotated dims / 2]
  };
  /// Of positions [first, first + count) of a sequence that ends there. Throws Error when there are
  /// not as many positions. REQUIRES: defined().
  [[nodiscard]] Rows At(int64_t first, int64_t count) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
  std::shared_ptr<const RotaryTable> windowed_;
};

/// Rotates the pairs (x[k], x[k + dims/2]) of the first `dims` dimensions, all unless the config
/// says otherwise, by the angles of positions first.. (Hugging Face's rotate-half layout). x:
/// [batch, seq, heads, head_dim].
[[nodiscard]] at::Tensor Rotate(const at::Tensor& x, const RotaryTable& table, int64_t first = 0);

/// What becomes of products of queries and keys before the softmax.
struct AttentionScores {
  double scale = 0;  // they are multiplied by it; 0 stands for 1 / sqrt(head_dim)
  double cap = 0;    // then cap * tanh(score / cap); 0: nothing
};

/// softmax(scores of q k^T + causal mask) v.
/// q: [batch, seq, heads, head_dim]; k, v: [batch, keys, kv heads, head_dim]; result as q. Query s
/// sees keys up to keys - seq + s, so that a KV cache may precede the queries, and with a `window`
/// only the last `window` of them. On the CPU the work goes in tiles that stay in cache and skip
/// what the mask hides (as in FlashAttention, arXiv 2205.14135: backward recomputes the
/// probabilities from the saved log-sum-exp).
[[nodiscard]] at::Tensor CausalAttention(const at::Tensor& q, const at::Tensor& k,
                                         const at::Tensor& v, int64_t window = 0,
                                         const AttentionScores& scores = {});

}  // namespace puzzle
