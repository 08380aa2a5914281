// The multiple-choice integer program behind `search`: of every group take exactly one option so
// that the sum of the scores is least and every resource stays within its limits (Puzzle paper,
// section 4.3). Knows nothing about models or graphs. Values; the functions are thread-safe.
#pragma once

#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace puzzle {

/// No limit; the objective of no choice.
inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// One alternative of a group, e.g. "kv1" of the attention of layer 3.
struct MipOption {
  std::string name;
  double score = 0;           // lower is better
  std::vector<double> costs;  // one per limit of the problem
};

/// `low <= fixed + sum of the chosen options' costs <= high`.
struct MipLimit {
  std::string resource;
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  double fixed = 0;  // what is spent whatever is chosen: embeddings, say
};

struct MipProblem {
  std::vector<std::vector<MipOption>> groups;
  std::vector<MipLimit> limits;
};

enum class MipSolver {
  kExact,  // Lagrangian bound, label search, CBC on what is left of hard problems
  kCbc,    // branch and cut on the whole problem: the reference
};

/// What an earlier solution of a similar problem (other limits, other scores) is good for.
struct MipHint {
  std::vector<double> multipliers;  // one per limit, as MipSolution returned them; or empty
  std::vector<int> choice;          // or empty; need not be within the limits
};

struct MipOptions {
  double time_limit_s = 60;
  std::function<bool()> should_stop = {};  // polled during the search; true ends it like the limit
  bool explain = true;  // say why an infeasible problem is (costs up to another time limit)
  MipSolver solver = MipSolver::kExact;
  MipHint hint = {};
};

enum class SolveStatus {
  kOptimal,     // proven: no choice within the limits has a lower sum of scores
  kFeasible,    // within the limits, but time ran out; `gap` tells how far from the bound
  kInfeasible,  // proven: no choice is within the limits; `explanation` tells why
  kNoSolution,  // time ran out before either was known
};

/// "optimal", "feasible", "infeasible", "no solution".
[[nodiscard]] std::string SolveStatusName(SolveStatus status);

/// A bound of a limit that would make an infeasible problem feasible, all others kept.
struct WorkableLimit {
  std::string resource;
  bool high = true;  // else the lower bound
  double asked = 0;
  double works = 0;  // the value nearest to `asked` that some choice can keep
};

struct MipSolution {
  SolveStatus status = SolveStatus::kNoSolution;
  double objective = std::numeric_limits<double>::infinity();  // sum of the chosen scores
  double bound = -std::numeric_limits<double>::infinity();     // proven: nothing is below this
  double gap = std::numeric_limits<double>::infinity();        // (objective - bound) / |objective|
  double time_s = 0;
  std::vector<int> choice;     // option index per group; empty without a solution
  std::vector<double> totals;  // per limit, `fixed` included; empty without a solution
  // kInfeasible, kNoSolution: what stands in the way, in one sentence; of a pool: Search.
  std::string explanation;
  std::vector<WorkableLimit> nearest;  // kInfeasible: each limit that could be moved, and where to
  std::vector<double> multipliers;     // price per unit of each limit's resource; for MipHint
};

/// Limits hold in double arithmetic to 1e-9 of their value, scores are told apart down to 1e-9 of
/// the largest difference within a group. The explanation of an infeasible problem names the
/// tightest limit and the nearest value of it that would work. Throws Error when a score or cost is
/// not finite (naming group and option), a limit is NaN, or there is nothing to choose.
/// REQUIRES: every option has one cost per limit.
[[nodiscard]] MipSolution SolveMip(const MipProblem& problem, const MipOptions& options = {});

/// Proven: no choice within the limits scores below this; infinity when there is none at all. The
/// bound of the linear relaxation, in a fraction of the time of a solution.
[[nodiscard]] double LowerBound(const MipProblem& problem);

/// Throws what SolveMip promises to throw.
void CheckMipProblem(const MipProblem& problem);

/// What `choice` uses of every limit's resource, `fixed` included.
/// REQUIRES: one valid option index per group.
[[nodiscard]] std::vector<double> ChoiceTotals(const MipProblem& problem,
                                               const std::vector<int>& choice);
/// Sum of the scores of `choice`.
[[nodiscard]] double ChoiceScore(const MipProblem& problem, const std::vector<int>& choice);
/// True when `totals` are within the limits, to 1e-9 of each limit's value.
[[nodiscard]] bool WithinLimits(const MipProblem& problem, const std::vector<double>& totals);

}  // namespace puzzle
