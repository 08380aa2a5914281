// The FFN sub-block: channels between matrices, a linear map, or nothing. Thread-safe on different
// weights.
#pragma once

#include "model/block/sub_block.h"

namespace puzzle::block {

/// Tensors without storage wherever this form has one.
[[nodiscard]] FfnWeights Outline(const FfnSpec& spec, const ModelConfig& config);
/// Every slot, whether it holds a tensor or not, in the order that optimizers see.
void Visit(FfnWeights& weights, const SlotVisitor& visit);

/// The input of the last matrix, [batch, seq, n]: the channels, or x itself. `x` is behind the
/// norm. REQUIRES: not `none`.
[[nodiscard]] at::Tensor Features(const FfnWeights& weights, const FfnSpec& spec,
                                  const Surroundings& around, const at::Tensor& x);
/// Which is the last matrix, and what is added behind it (undefined where there is nothing).
[[nodiscard]] at::Tensor FfnWeights::*OutputMatrix(const FfnSpec& spec);
[[nodiscard]] at::Tensor FfnWeights::*OutputBias(const FfnSpec& spec);
/// FoldInto for the matrices that read the norm's output.
void FoldNorm(FfnWeights& weights, const ModelConfig& config);

/// The parent's weights made smaller, sharing storage where nothing changes; see InitVariant of
/// model/surgery.h. `sorted` is the parent's with its channels sorted, or has no tensors.
[[nodiscard]] FfnWeights Init(const FfnWeights& parent, const FfnSpec& parent_spec,
                              const FfnSpec& spec, const FfnWeights& sorted);
/// The FFN with its channels in `order` (int64 [size]).
[[nodiscard]] FfnWeights SortChannels(const FfnWeights& ffn, const at::Tensor& order);

}  // namespace puzzle::block
