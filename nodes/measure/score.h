// `score`: how much worse does a model get when one sub-block, or block, is replaced? (paper
// section 4.2)
#pragma once

#include <cstdint>
#include <functional>

#include "graph/kind/kind.h"
#include "model/math/losses.h"
#include "model/transformer.h"
#include "nodes/measure/artifacts.h"
#include "nodes/measure/kinds.h"
#include "nodes/states/artifacts.h"
#include "nodes/states/file_tensor.h"

namespace puzzle {

/// `model` with all its matrices in `type`, the head's too: what is measured of it is computed in
/// that type.
[[nodiscard]] Transformer WithMatricesIn(at::ScalarType type, const Transformer& model);

/// A model and its hidden states on the tokens that scores are taken on. One whose blocks are not
/// in memory (ForWalk of nodes/states/walk.h) is walked through, with the same results.
struct Captured {
  const Transformer& model;
  const Activations& states;
  bool answers_only = false;  // of the predictions, those of tokens in the states' mask
  DataRoom room = {};         // for the states of a walk
};

/// The parent's distribution on those tokens, folded for children that share `model`'s head. From
/// the parent's cached last state. REQUIRES: both were captured on the same tokens, of which the
/// same count, and have their matrices in one type.
[[nodiscard]] FoldedParent FoldCaptured(const Transformer& model, const Captured& parent,
                                        int64_t batch);

/// The states in front of the FFN of `layer`, [sequences, length, hidden] on the model's device:
/// where all candidates for that FFN begin.
[[nodiscard]] at::Tensor StatesBeforeFfn(const Captured& model, int64_t layer, int64_t batch);

/// What stands in the place of one sub-block or block.
struct Replacement {
  int64_t layer = 0;
  VariantSpec spec;
  SubBlockWeights weights;
  at::Tensor before_ffn;  // of an FFN: StatesBeforeFfn, or undefined: found on the way
};

/// Figures, against the parent, of a model with one sub-block or block replaced. The model is the
/// parent itself (replace-1-block scores) or a child of it (the same in the child's context, where
/// sub-blocks interact differently). Starts at that layer, or sub-block, from the states in front
/// of it. REQUIRES: `parent` was folded for the model; `poll` is called by the calling thread.
[[nodiscard]] TokenFigures ScoreReplacement(const Captured& model, const Replacement& replacement,
                                            const FoldedParent& parent, int64_t batch,
                                            const std::function<void(double)>& poll);

/// The same of `changed`, a model of other weights throughout, from the tokens on. REQUIRES:
/// `parent` was folded for it.
[[nodiscard]] TokenFigures ScoreFromTokens(const Captured& model, const Transformer& changed,
                                           const FoldedParent& parent, int64_t batch,
                                           const std::function<void(double)>& poll);

/// The same of the model as it is, from its cached last state.
[[nodiscard]] TokenFigures ScoreAsIs(const Captured& model, const FoldedParent& parent,
                                     int64_t batch);

[[nodiscard]] Score RunScore(const ScoreParams& params, const Inputs& inputs, RunContext& context);

}  // namespace puzzle
