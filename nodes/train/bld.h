// `bld`: blockwise local distillation of one variant of one sub-block, or of a whole block (paper
// section 3; the paper's "coupled").
#pragma once

#include <cstdint>
#include <string>

#include "graph/kind/kind.h"
#include "nodes/states/sub_block_data.h"
#include "nodes/train/artifacts.h"
#include "nodes/train/kinds.h"

namespace puzzle {

/// A trained variant and its held-out loss: MSE(target, output) / MSE(target, 0), see Trainee.
struct Distilled {
  SubBlockWeights weights;
  double init_loss = 0;   // of the formula's start
  double refit_loss = 0;  // after the closed-form output matrix
  double loss = 0;        // of `weights`: the least that was seen at the end of an epoch or before
  std::string complaint;  // what went wrong in training; empty: nothing
};

/// Trains `start` to imitate the parent's sub-block (or block, in what it adds to its input) on
/// `data`, whose last `params.holdout` sequences are kept for the losses. The last output matrix is
/// first solved in closed form; a linear variant is finished with that. A training that diverges is
/// cut short. Deterministic in `seed`. On the context's device; keeps save points there. Where the
/// context's memory is short, files take what a step goes through once. `parent`'s layer need not
/// be in memory.
[[nodiscard]] Distilled DistillSubBlock(SubBlockWeights start, const VariantSpec& spec,
                                        const Transformer& parent, const SubBlockData& data,
                                        const BldParams& params, uint64_t seed,
                                        RunContext& context);

[[nodiscard]] Block RunBld(const BldParams& params, const Inputs& inputs, RunContext& context);

}  // namespace puzzle
