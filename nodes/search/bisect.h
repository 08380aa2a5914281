// `bisect`: which child to measure next when the smallest one is looked for that loses at most so
// much, as measured on realised children. A graph is static, so a bisection is a chain of rounds:
// this step, then whatever realises and measures its child (assemble, gkd, evaluate), and the next
// round gets both. Every round is cached steps like any other.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "graph/kind/kind.h"
#include "nodes/cost/artifacts.h"
#include "nodes/measure/artifacts.h"
#include "nodes/search/artifacts.h"
#include "nodes/search/kinds.h"

namespace puzzle {

/// What the round before found out.
struct MeasuredChild {
  Choice choice;          // of an earlier NextToMeasure
  Evaluation evaluation;  // of the child that was made of it
};

/// The child that the scores like best among those whose size is at most half way between the
/// largest that lost too much (at first `params.from`) and the smallest that did not (at first the
/// parent); it is larger than the former. Where there is none, the best above the middle. Where
/// there is none either the bisection is over, and the answer is the choice of the round before, so
/// that the rounds left repeat it. That larger children lose less is an assumption. `parent` is the
/// parent's own evaluation, where the limit takes one. Throws Error when the evaluation is not of
/// that choice's child, when the rounds differ in the resource, like MeasuredLoss, and when there
/// is no child at all.
[[nodiscard]] Choice NextToMeasure(const BisectParams& params, const CostTable& costs,
                                   const std::vector<Score>& scores, const MeasuredChild* before,
                                   const Evaluation* parent,
                                   const std::function<void(const std::string&)>& warn,
                                   const std::function<bool()>& should_stop);

[[nodiscard]] Choice RunBisect(const BisectParams& params, const Inputs& inputs,
                               RunContext& context);

}  // namespace puzzle
