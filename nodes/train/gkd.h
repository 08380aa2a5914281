// `gkd`: global knowledge distillation, the repair of an assembled child (paper section 5).
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "graph/kind/kind.h"
#include "model/files/stored_parts.h"
#include "model/math/top_words.h"
#include "model/transformer.h"
#include "nodes/data/artifacts.h"
#include "nodes/train/kinds.h"

namespace puzzle {

/// The teacher's hidden states for some sequences: state i is the input of block i, the last one is
/// behind the last block. Called from several threads at once.
using TeacherStates = std::function<std::vector<at::Tensor>(const std::vector<int64_t>& rows)>;

/// States of a teacher that are computed when they are asked for, as the student's steps compute
/// theirs (`compute` of GkdParams). `model` with WithProductsIn that type; `tokens` has to live as
/// long.
[[nodiscard]] TeacherStates StatesOf(const Transformer& model, const TokenSet& tokens);

/// The teacher's likeliest words at every prediction of some sequences, one after another, on any
/// device. Called from several threads at once.
using TeacherWords = std::function<TopWords(const std::vector<int64_t>& rows)>;

/// A teacher on one device. With `words` its head is not asked in training, nor are its states
/// unless hidden states are compared.
struct TeacherOnDevice {
  Transformer model;
  TeacherStates states;
  TeacherWords words = {};
};

/// How a distillation ended.
struct GlobalDistillation {
  double loss = 0;  // of the training, smoothed over the last steps
  // KL(teacher || student) of the sequences held out; NaN when there are none.
  double held_out_before = 0;
  double held_out = 0;
  int64_t best_step = 0;  // 0: nothing was better than the student as it was
};

/// Trains the student in place, or what `params.train` takes of it: kl_weight * KL(teacher ||
/// student) over the vocabulary
/// + cosine_weight * mean over surviving layers of (1 - cos of the hidden states behind them)
/// + lm_weight * cross entropy. With `params.on` "answers" all three are means over the places that
/// predict a token of an answer, of those sequences that hold one. Keeps save points in `context`,
/// on whose lanes the parts of a batch are worked off: how many cpu lanes there are changes no bit.
/// `teachers` is one, or, for devices with memories of their own, one on each of them in the order
/// of `context`, the student being on the first: then the student's parameters are copied to the
/// others for every batch, and gradients are summed where it is, in the order of the devices.
/// The last min(params.holdout, a quarter) of the sequences are not trained on: of the states
/// before, during and after the training the one with the least KL there is the result. Without
/// any, a loss that is not finite is an Error; what is said names its term. Throws Error when
/// answers are wanted that are not there, and when a step does not fit the memory.
/// Where the teachers have `words` the KL of the training is that of those words and of all others
/// as one (CoarseKlLoss), at most the whole one; the KL held out is the whole one in any case.
/// With `params.dtype` "bf16" the result is rounded to it, and the last KL held out is that of the
/// rounded model.
/// With `types` all of this, the KL held out too, is about the model that a file with them holds
/// (StoredStudent); the weights that are trained, and the result, are those before the rounding.
GlobalDistillation DistillGlobally(const std::vector<TeacherOnDevice>& teachers,
                                   const Transformer& student, const TokenSet& tokens,
                                   const GkdParams& params, uint64_t seed, RunContext& context,
                                   const StoredTypes& types = {});

[[nodiscard]] Checkpoint RunGkd(const GkdParams& params, const Inputs& inputs, RunContext& context);

}  // namespace puzzle
