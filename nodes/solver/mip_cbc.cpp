#include "nodes/solver/mip_cbc.h"

#include "io/module.h"
#include "nodes/solver/depth_first.h"
#include "nodes/solver/lagrange.h"
#include "nodes/solver/mip_core.h"
#include "nodes/solver/mip_limits.h"

namespace puzzle {

namespace {

// CBC's "infeasible" is an opinion: with tolerances this tight its cuts are sometimes wrong. What
// our own search finds within the limits, or proves not to be there, has the last word; when it has
// to give up, nothing is known.
MipSolution Verified(const MipProblem& problem, double cutoff, const MipClock& clock) {
  constexpr size_t kMaxNodes = 20'000'000;
  MipSolution result;
  result.status = SolveStatus::kInfeasible;
  const MipCore core = MakeMipCore(problem);
  if (!core.feasible) return result;
  const LagrangeBound lagrange = MaximizeLagrangian(core, {}, clock);
  if (lagrange.infeasible) return result;
  const auto is_within = [&](const std::vector<int>& columns) {
    return WithinLimits(problem, ChoiceTotals(problem, ChoiceOfColumns(core, columns)));
  };
  const DepthFirstResult own = SearchDepthFirst(
      core, lagrange, (cutoff - core.score_offset) / core.score_unit, kMaxNodes, is_within, clock);
  if (own.columns.empty()) {
    if (!own.complete) result.status = SolveStatus::kNoSolution;
    return result;
  }
  result.status = own.complete ? SolveStatus::kOptimal : SolveStatus::kFeasible;
  result.choice = ChoiceOfColumns(core, own.columns);
  result.totals = ChoiceTotals(problem, result.choice);
  result.objective = ChoiceScore(problem, result.choice);
  result.bound = core.ToProblem(lagrange.bound);
  return result;
}

}  // namespace

MipSolution SolveWithCbc(const MipProblem& problem, const MipClock& clock, double cutoff) {
  using Entry = void (*)(const MipProblem*, const MipClock*, double, MipSolution*);
  static const auto solve =
      reinterpret_cast<Entry>(ModuleSymbol("puzzle_cbc", "PuzzleSolveWithCbc"));
  MipSolution solution;
  solve(&problem, &clock, cutoff, &solution);
  return solution.status == SolveStatus::kInfeasible ? Verified(problem, cutoff, clock) : solution;
}

}  // namespace puzzle
