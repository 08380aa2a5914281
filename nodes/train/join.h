// `join`: a whole block put together from sub-blocks that were trained apart, and `shortlist`: such
// a block that searches liked. What they give is where coupled training begins.
#pragma once

#include <cstdint>
#include <vector>

#include "graph/kind/kind.h"
#include "nodes/search/artifacts.h"
#include "nodes/train/artifacts.h"
#include "nodes/train/kinds.h"

namespace puzzle {

/// Throws Error unless the parent has this layer.
void CheckLayer(int64_t layer, const ModelConfig& parent);

/// The weights of `block` on the device of `parent`, which gives them where they are its own;
/// beside a parent that is not in memory they stay where they are. Throws Error when the block
/// belongs to a model of another width or depth.
[[nodiscard]] SubBlockWeights WeightsOf(const Block& block, const ModelWeights& parent);

/// `spec` in `layer`, its sub-blocks as `blocks` have them or the parent's own. Throws Error naming
/// a sub-block that none of them provides.
[[nodiscard]] Block JoinParts(const ModelWeights& parent, int64_t layer, const BlockSpec& spec,
                              const std::vector<Input<Block>>& blocks);

/// What `choices` put into `layer` instead of the parent's block: what most of them take comes
/// first, equals are in the order of their names.
[[nodiscard]] std::vector<BlockSpec> LikedBlocks(const std::vector<Choice>& choices,
                                                 const ModelConfig& parent, int64_t layer);

[[nodiscard]] Block RunJoin(const JoinParams& params, const Inputs& inputs, RunContext& context);
/// Beyond the last one of the list it is the parent's own block.
[[nodiscard]] Block RunShortlist(const ShortlistParams& params, const Inputs& inputs,
                                 RunContext& context);

}  // namespace puzzle
