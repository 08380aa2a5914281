#include "model/math/compat.h"

#include <cmath>
#include <limits>

#include <torch/version.h>

#include "model/pch.h"

namespace puzzle {

using at::Tensor;

Tensor DeviceAttention(const Tensor& q, const Tensor& k, const Tensor& v, int64_t window,
                       const AttentionScores& how) {
  const int64_t group = q.size(2) / k.size(2), seq = q.size(1), keys = k.size(1);
  const Tensor q_heads = q.transpose(1, 2);
  const Tensor k_heads = k.transpose(1, 2).repeat_interleave(group, 1);
  const Tensor v_heads = v.transpose(1, 2).repeat_interleave(group, 1);
#if TORCH_VERSION_MAJOR >= 2
  const bool plain = how.cap == 0 && how.scale == 1.0 / std::sqrt(static_cast<double>(q.size(3)));
  if (seq == keys && window == 0 && plain) {
    return at::scaled_dot_product_attention(q_heads, k_heads, v_heads, {}, 0.0, /*is_causal=*/true)
        .transpose(1, 2);
  }
#endif
  const Tensor all = at::ones({seq, keys}, q.options().dtype(at::kBool));
  Tensor hidden = all.triu(keys - seq + 1);
  if (window > 0) hidden = hidden.logical_or(all.tril(keys - seq - window));
  Tensor scores = at::matmul(q_heads, k_heads.transpose(-1, -2)).mul(how.scale);
  if (how.cap > 0) scores = scores.div(how.cap).tanh().mul(how.cap);
  scores = scores.masked_fill(hidden, -std::numeric_limits<float>::infinity());
  return at::matmul(scores.softmax(-1), v_heads).transpose(1, 2);
}

std::string LibtorchVersion() {
  return TORCH_VERSION;
}

}  // namespace puzzle
