// Where the two halves of the label search meet. Thread-safe.
#pragma once

#include <vector>

#include "nodes/solver/label_problem.h"

namespace puzzle {

/// Every choice crosses over from the left half to the right one at the first group p (from 1) at
/// which the excess of groups 1..p rises above cut[p]. Its left part then has at most cut[p - 1],
/// its right part, behind p, at most what is left of the distance: both are far fewer than the
/// parts that a fixed middle would need, since only one of a choice's halves can have most of its
/// excess. The cuts fall: cut[0] is infinite, cut[n] minus infinity (the last group at which to
/// cross over), and in between they are such that the expected numbers of left and right parts add
/// up to the least.
[[nodiscard]] std::vector<double> CutsOf(const LabelProblem& problem);

}  // namespace puzzle
