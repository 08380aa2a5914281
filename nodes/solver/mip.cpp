#include "nodes/solver/mip.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "nodes/solver/lagrange.h"
#include "nodes/solver/mip_cbc.h"
#include "nodes/solver/mip_core.h"
#include "nodes/solver/mip_exact.h"
#include "nodes/solver/mip_limits.h"

namespace puzzle {

std::string SolveStatusName(SolveStatus status) {
  switch (status) {
    case SolveStatus::kOptimal:
      return "optimal";
    case SolveStatus::kFeasible:
      return "feasible";
    case SolveStatus::kInfeasible:
      return "infeasible";
    case SolveStatus::kNoSolution:
      return "no solution";
  }
  return "unknown";
}

double LowerBound(const MipProblem& problem) {
  CheckMipProblem(problem);
  const MipCore core = MakeMipCore(problem);
  if (!core.feasible) return std::numeric_limits<double>::infinity();
  const LagrangeBound lagrange =
      MaximizeLagrangian(core, {}, MipClock(std::numeric_limits<double>::infinity(), {}));
  return lagrange.infeasible ? std::numeric_limits<double>::infinity()
                             : core.ToProblem(lagrange.bound);
}

MipSolution SolveMip(const MipProblem& problem, const MipOptions& options) {
  CheckMipProblem(problem);
  const MipClock clock(options.time_limit_s, options.should_stop);
  MipSolution result = options.solver == MipSolver::kExact
                           ? SolveExactly(problem, options.hint, clock)
                           : SolveWithCbc(problem, clock);
  if (result.status == SolveStatus::kOptimal) result.bound = result.objective;
  result.bound = std::min(result.bound, result.objective);
  if (!result.choice.empty()) {
    const double difference = result.objective - result.bound;
    result.gap = difference == 0 ? 0 : difference / std::max(std::abs(result.objective), 1e-300);
  }
  if (result.status == SolveStatus::kInfeasible && options.explain) {
    MipExplanation explanation = ExplainInfeasible(problem, options);
    result.explanation = std::move(explanation.text);
    result.nearest = std::move(explanation.nearest);
  }
  if (result.status == SolveStatus::kNoSolution) {
    const std::string time =
        clock.left_s() > 0
            ? fmt::format("{:.3g} s, when the search was stopped", clock.elapsed_s())
            : fmt::format("the time limit of {:.3g} s; allow more time or wider limits",
                          options.time_limit_s);
    result.explanation = "no choice within the limits was found in " + time;
  }
  result.time_s = clock.elapsed_s();
  return result;
}

}  // namespace puzzle
