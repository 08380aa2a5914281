#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "nodes/mip_limits.h"

namespace puzzle {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// One side of one limit.
struct Side {
  size_t limit = 0;
  bool high = true;

  [[nodiscard]] double bound(const MipProblem& problem) const {
    return high ? problem.limits[limit].high : problem.limits[limit].low;
  }
  [[nodiscard]] std::string Describe(const MipProblem& problem) const {
    return fmt::format("{} {} {:.12g}", problem.limits[limit].resource,
                       high ? "<=" : ">=", bound(problem));
  }
  // By which part of itself the bound must move to admit `value`.
  [[nodiscard]] double Relaxation(const MipProblem& problem, double value) const {
    const double from = bound(problem);
    return std::abs(value - from) / std::max(std::abs(from), 1e-300);
  }
};

std::vector<Side> FiniteSides(const MipProblem& problem) {
  std::vector<Side> sides;
  for (size_t r = 0; r < problem.limits.size(); ++r) {
    if (std::isfinite(problem.limits[r].high)) sides.push_back({r, true});
    if (std::isfinite(problem.limits[r].low)) sides.push_back({r, false});
  }
  return sides;
}

// The value of this bound nearest to the wanted one that all other limits allow.
std::optional<double> NearestWorkable(MipProblem problem, const Side& side, double time_limit_s) {
  MipLimit& limit = problem.limits[side.limit];
  (side.high ? limit.high : limit.low) = side.high ? kInfinity : -kInfinity;
  for (auto& group : problem.groups) {
    for (MipOption& option : group) {
      option.score = side.high ? option.costs[side.limit] : -option.costs[side.limit];
    }
  }
  const MipSolution solution =
      SolveMip(problem, {.time_limit_s = time_limit_s, .should_stop = {}, .explain = false});
  if (solution.choice.empty()) return std::nullopt;
  return solution.totals[side.limit];
}

// A limit to move, and where to.
struct Move {
  Side side;
  double value = 0;
  double relaxation = 0;
};

// The limit that lies farthest beyond anything that any choice uses.
std::optional<Move> FarthestBeyondReach(const MipProblem& problem, const std::vector<Side>& sides) {
  std::optional<Move> farthest;
  for (const Side& side : sides) {
    const MipReach reach = ReachOf(problem, side.limit);
    const double value = side.high ? reach.least : reach.most;
    const double sign = side.high ? 1 : -1;
    if (sign * value <= sign * Loosened(side.bound(problem), sign, reach.magnitude)) continue;
    const double relaxation = side.Relaxation(problem, value);
    if (!farthest || relaxation > farthest->relaxation) farthest = {side, value, relaxation};
  }
  return farthest;
}

// The smallest move of a single limit that makes the problem feasible.
std::optional<Move> SmallestMove(const MipProblem& problem, const std::vector<Side>& sides,
                                 double time_limit_s) {
  std::optional<Move> smallest;
  for (const Side& side : sides) {
    const std::optional<double> value = NearestWorkable(problem, side, time_limit_s);
    if (!value) continue;
    const double relaxation = side.Relaxation(problem, *value);
    if (!smallest || relaxation < smallest->relaxation) smallest = {side, *value, relaxation};
  }
  return smallest;
}

std::string DescribeBeyondReach(const MipProblem& problem, const Move& move, double time_limit_s) {
  std::string text =
      fmt::format("{} cannot be met by any choice: the {} possible is {:.12g}",
                  move.side.Describe(problem), move.side.high ? "least" : "most", move.value);
  const std::optional<double> workable = NearestWorkable(problem, move.side, time_limit_s);
  if (!workable) return text + ", and the other limits cannot be met together either";
  if (move.side.Relaxation(problem, *workable) <= move.relaxation * (1 + 1e-9)) return text;
  return fmt::format("{}, and {:.12g} with the other limits kept", text, *workable);
}

}  // namespace

std::string ExplainInfeasible(const MipProblem& problem, double time_limit_s) {
  for (const MipLimit& limit : problem.limits) {
    if (limit.low > limit.high) {
      return fmt::format("{} must be at least {:.12g} and at most {:.12g}, which contradict",
                         limit.resource, limit.low, limit.high);
    }
  }
  const std::vector<Side> sides = FiniteSides(problem);
  const double share_s = time_limit_s / static_cast<double>(sides.size() + 1);
  if (const auto move = FarthestBeyondReach(problem, sides)) {
    return DescribeBeyondReach(problem, *move, share_s);
  }
  const auto move = SmallestMove(problem, sides, share_s);
  if (!move) return "each limit can be met alone, but no choice meets all of them, nor all but one";
  const MipReach reach = ReachOf(problem, move->side.limit);
  return fmt::format(
      "{} can be met alone (the {} possible is {:.12g}), but not together with the other limits: "
      "the nearest value that works is {:.12g}",
      move->side.Describe(problem), move->side.high ? "least" : "most",
      move->side.high ? reach.least : reach.most, move->value);
}

}  // namespace puzzle
