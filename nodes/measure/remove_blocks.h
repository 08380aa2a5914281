// `remove_blocks`: depth pruning by iterative removal with re-scoring (SLEB, arXiv 2402.09025), a
// baseline: of all blocks, or sub-blocks, the one whose removal hurts least goes, the others are
// scored again without it, and so on until the model is small enough.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "graph/kind/kind.h"
#include "model/shape/metrics.h"
#include "model/transformer.h"
#include "nodes/data/artifacts.h"
#include "nodes/measure/kinds.h"

namespace puzzle {

/// A block, or a sub-block of one, that was removed, and how good the model was without it.
struct Removal {
  int64_t layer = 0;
  SubBlock which = SubBlock::kBoth;
  double loss = 0;  // the objective's mean over the predictions
};

struct Removals {
  ModelWeights model;          // shares storage with the parent's
  std::vector<Removal> order;  // in which they went
};

struct RemovalRule {
  bool whole_blocks = true;         // else attention and FFN apart
  Metric objective = Metric::kNll;  // or kKl
  int64_t block_parameters = 0;     // at most so many are left
  int64_t batch = 8;                // sequences at a time: what is held beside the model is the
                                    // hidden states of so many at every layer
};

/// Removes until the rule's size is met, each time the candidate with the least loss on `tokens`,
/// the first of equal ones. `parent` may have its matrices in bf16 (WithMatricesIn). Throws Error
/// when an answer is not finite. `poll` is called by the calling thread.
[[nodiscard]] Removals RemoveBlocks(const Transformer& parent, const TokenSet& tokens,
                                    const RemovalRule& rule,
                                    const std::function<void(double)>& poll);

[[nodiscard]] Checkpoint RunRemoveBlocks(const RemoveBlocksParams& params, const Inputs& inputs,
                                         RunContext& context);

}  // namespace puzzle
