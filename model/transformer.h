// Forward passes: sub-blocks, blocks, whole models, with or without a KV cache. Differentiable in
// every weight. Thread-safe on different inputs; grad mode and thread count are the caller's.
#pragma once

#include <ATen/core/Tensor.h>

#include <span>
#include <vector>

#include "model/kv_cache.h"
#include "model/math/ops.h"
#include "model/weights.h"

namespace puzzle {

/// A model that can run: weights plus the tables derived from its config.
class Transformer {
 public:
  /// Shares the weights' storage. `positions` bounds the sequence length; default: the config's.
  explicit Transformer(ModelWeights weights, int64_t positions = 0);

  [[nodiscard]] const ModelConfig& config() const { return weights_.config; }
  [[nodiscard]] const ModelWeights& weights() const { return weights_; }
  /// Empty when positions are learned.
  [[nodiscard]] const RotaryTable& rotary() const { return rotary_; }

  /// The same model with the matrices of its blocks in `type`, differentiable in those of this one.
  /// Products of blocks are then computed in that type; what is between them stays fp32.
  [[nodiscard]] Transformer WithProductsIn(at::ScalarType type) const;

  /// ids [batch, seq] int64 at positions first.. -> [batch, seq, hidden]: the input of block 0.
  [[nodiscard]] at::Tensor Embed(const at::Tensor& ids, int64_t first = 0) const;
  /// Blocks [first, last) applied to x [batch, seq, hidden].
  [[nodiscard]] at::Tensor Blocks(at::Tensor x, int64_t first, int64_t last,
                                  KvCache* cache = nullptr) const;
  /// The final norm: hidden states as the head sees them.
  [[nodiscard]] at::Tensor FinalNorm(const at::Tensor& x) const;
  /// ids [batch, seq] -> logits [batch, seq, vocab]. For short inputs: long ones go through
  /// model/math/losses.h, which never holds tokens x vocabulary.
  [[nodiscard]] at::Tensor Logits(const at::Tensor& ids, KvCache* cache = nullptr) const;

 private:
  ModelWeights weights_;
  RotaryTable rotary_;
};

/// The input of a sub-block's last matrix (attention: the mixed heads; FFN: the gated channels;
/// linear: the norm's output): [batch, seq, n]. `normalized` is Normalize(x), without the norm's
/// weight and bias: [batch, seq, hidden]. REQUIRES: one sub-block, not `none`.
[[nodiscard]] at::Tensor Features(const SubBlockWeights& weights, const VariantSpec& spec,
                                  const ModelConfig& config, const RotaryTable& rotary,
                                  const at::Tensor& normalized);
/// That last matrix: o_proj, down_proj or the linear map, [hidden, n]. REQUIRES: as Features.
[[nodiscard]] at::Tensor& OutputMatrix(SubBlockWeights& weights, const VariantSpec& spec);
/// What is added behind it; undefined when there is nothing. REQUIRES: as Features.
[[nodiscard]] at::Tensor OutputBias(const SubBlockWeights& weights, const VariantSpec& spec);
/// Whether what it adds goes through a norm behind that matrix. REQUIRES: as Features.
[[nodiscard]] bool HasPostNorm(const SubBlockWeights& weights, const VariantSpec& spec);
/// Features times the output matrix, plus the bias. REQUIRES: as Features.
[[nodiscard]] at::Tensor OutputBeforePostNorm(const SubBlockWeights& weights,
                                              const VariantSpec& spec, const ModelConfig& config,
                                              const RotaryTable& rotary,
                                              const at::Tensor& normalized);
/// What SubBlockOutput reads where the state is x: Normalize(x), or x itself for a whole block.
[[nodiscard]] at::Tensor InputOf(const VariantSpec& spec, const ModelConfig& config,
                                 const at::Tensor& x);
/// What the sub-block adds to the residual: features times the output matrix, plus the bias,
/// through the norm behind it in families that have one. Of a whole block, what both add in turn.
/// Undefined for `none`.
[[nodiscard]] at::Tensor SubBlockOutput(const SubBlockWeights& weights, const VariantSpec& spec,
                                        const ModelConfig& config, const RotaryTable& rotary,
                                        const at::Tensor& input);
/// The same sub-block, or block, with its matrices in `type`: its products are then computed in it.
[[nodiscard]] SubBlockWeights WithProductsIn(at::ScalarType type, const SubBlockWeights& weights,
                                             const VariantSpec& spec);
/// The same sub-block with its norm's weight multiplied into the matrices that read the norm's
/// output, and no norm weight: for Features and SubBlockOutput only. Training then needs no
/// gradient of the states, which costs as much as that of the matrices.
[[nodiscard]] SubBlockWeights FoldNorm(const SubBlockWeights& weights, const ModelConfig& config);
/// x + sub-block(x), or the whole block(x).
[[nodiscard]] at::Tensor ApplySubBlock(const SubBlockWeights& weights, const VariantSpec& spec,
                                       const ModelConfig& config, const RotaryTable& rotary,
                                       const at::Tensor& x);

/// How to pick the next token.
struct Sampling {
  double temperature = 0.0;  // 0: greedy
  int64_t top_k = 0;         // 0: all
  uint64_t seed = 0;
};

/// Continues `prompt` by up to `count` tokens with a KV cache; stops after an EOS id, after a
/// BOS id (the next document begins) or at the model's last position. Returns the new ids.
[[nodiscard]] std::vector<int32_t> Generate(const Transformer& model,
                                            std::span<const int32_t> prompt, int64_t count,
                                            const Sampling& sampling = {});

}  // namespace puzzle
