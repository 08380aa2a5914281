// `gkd`: global knowledge distillation, the repair of an assembled child (paper section 5).
#pragma once

#include <functional>
#include <string_view>

#include "graph/kind/kind.h"
#include "model/transformer.h"
#include "nodes/data/artifacts.h"
#include "nodes/train/kinds.h"

namespace puzzle {

/// The teacher's hidden states for some sequences: state i is the input of block i, the last one is
/// behind the last block. Called from several threads at once.
using TeacherStates = std::function<std::vector<at::Tensor>(const std::vector<int64_t>& rows)>;

/// Trains the student in place: kl_weight * KL(teacher || student) over the vocabulary
/// + cosine_weight * mean over surviving layers of (1 - cos of the hidden states behind them)
/// + lm_weight * cross entropy. With `params.on` "answers" all three are means over the places that
/// predict a token of an answer, of those sequences that hold one. Keeps save points in `context`.
/// Returns the smoothed last loss. Throws Error on divergence, and when answers are wanted that are
/// not there.
double DistillGlobally(const Transformer& teacher, const TeacherStates& teacher_states,
                       const Transformer& student, const TokenSet& tokens, const GkdParams& params,
                       uint64_t seed, RunContext& context);

[[nodiscard]] Checkpoint RunGkd(const GkdParams& params, const Inputs& inputs, RunContext& context);

}  // namespace puzzle
