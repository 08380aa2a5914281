// The attention sub-block: grouped-query attention, a linear map, or nothing. Thread-safe on
// different weights.
#pragma once

#include "model/block/sub_block.h"

namespace puzzle::block {

/// Tensors without storage wherever this form has one.
[[nodiscard]] AttentionWeights Outline(const AttentionSpec& spec, const ModelConfig& config);
/// Every slot, whether it holds a tensor or not, in the order that optimizers see.
void Visit(AttentionWeights& weights, const SlotVisitor& visit);

/// The input of the last matrix, [batch, seq, n]: the mixed heads, or x itself. `x` is behind the
/// norm. Rotation and attention are computed in fp32, whatever the type of the matrices. REQUIRES:
/// not `none`.
[[nodiscard]] at::Tensor Features(const AttentionWeights& weights, const AttentionSpec& spec,
                                  const Surroundings& around, const at::Tensor& x);
/// Which is the last matrix, and what is added behind it (undefined where there is nothing).
[[nodiscard]] at::Tensor AttentionWeights::*OutputMatrix(const AttentionSpec& spec);
[[nodiscard]] at::Tensor AttentionWeights::*OutputBias(const AttentionSpec& spec);
/// FoldInto for the matrices that read the norm's output.
void FoldNorm(AttentionWeights& weights, const ModelConfig& config);

/// How kv heads r become r': by averaging or by keeping the first of every run of r/r' neighbours.
enum class KvMerge { kAverage, kFirst };
/// The parent's weights made smaller, sharing storage where nothing changes; see InitVariant of
/// model/surgery.h. `head_scores` [kv heads] may be undefined.
[[nodiscard]] AttentionWeights Init(const AttentionWeights& parent,
                                    const AttentionSpec& parent_spec, const AttentionSpec& spec,
                                    const ModelConfig& config, KvMerge kv_merge,
                                    const at::Tensor& head_scores);

}  // namespace puzzle::block
