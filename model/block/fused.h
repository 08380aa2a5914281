// Sub-blocks of the usual form in a training whose products are in bf16, on the CPU: each is one
// function with a backward of its own. Beside the products there are few passes over memory, and
// what is kept for the gradients is rounded to bf16, but for the state itself. Thread-safe on
// different inputs.
#pragma once

#include "model/block/sub_block.h"

namespace puzzle::block {

/// Whether AddFused knows a sub-block, given its weights with their matrices in bf16: full, with an
/// RMS norm, no biases, no norms of heads nor behind; attention with its whole heads rotated and
/// scores without a cap, FFNs with a SiLU gate; on the CPU, without a cache.
[[nodiscard]] bool CanFuse(const AttentionWeights& rounded, const AttentionSpec& spec,
                           const Surroundings& around);
[[nodiscard]] bool CanFuse(const FfnWeights& rounded, const FfnSpec& spec,
                           const Surroundings& around);

/// x + sub-block(x), x [batch, seq, hidden] fp32; differentiable in x and `weights`, whose matrices
/// the products read from `rounded`: in bf16 and without history. Queries, keys, probabilities and
/// the channels are rounded too; sums, softmax, norms and the state are fp32. Gradients of matrices
/// are sums in fp32. Only what something wants a gradient of is computed. REQUIRES: CanFuse.
[[nodiscard]] at::Tensor AddFused(const AttentionWeights& weights, const AttentionSpec& spec,
                                  const AttentionWeights& rounded, const Surroundings& around,
                                  const at::Tensor& x);
[[nodiscard]] at::Tensor AddFused(const FfnWeights& weights, const FfnSpec& spec,
                                  const FfnWeights& rounded, const Surroundings& around,
                                  const at::Tensor& x);

}  // namespace puzzle::block
