#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "nodes/solver/mip_limits.h"

namespace puzzle {
namespace {

// One side of one limit.
struct LimitSide {
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

std::vector<LimitSide> FiniteSides(const MipProblem& problem) {
  std::vector<LimitSide> sides;
  for (size_t r = 0; r < problem.limits.size(); ++r) {
    if (std::isfinite(problem.limits[r].high)) sides.push_back({r, true});
    if (std::isfinite(problem.limits[r].low)) sides.push_back({r, false});
  }
  return sides;
}

// The choice that comes nearest to this bound of all that the other limits allow.
MipSolution NearestWithout(MipProblem problem, const LimitSide& side, const MipOptions& options) {
  MipLimit& limit = problem.limits[side.limit];
  (side.high ? limit.high : limit.low) = side.high ? kInfinity : -kInfinity;
  for (auto& group : problem.groups) {
    for (MipOption& option : group) {
      option.score = side.high ? option.costs[side.limit] : -option.costs[side.limit];
    }
  }
  return SolveMip(problem, options);
}

// A limit to move, and where to.
struct Move {
  LimitSide side;
  double value = 0;
  double relaxation = 0;
};

// Every limit that can be moved alone so that the problem becomes feasible.
struct SingleMoves {
  std::vector<Move> moves;
  bool all_known = true;  // else time ran out, and there may be others
};

// The limit that lies farthest beyond anything that any choice uses.
std::optional<Move> FarthestBeyondReach(const MipProblem& problem,
                                        const std::vector<LimitSide>& sides) {
  std::optional<Move> farthest;
  for (const LimitSide& side : sides) {
    const MipReach reach = ReachOf(problem, side.limit);
    const double value = side.high ? reach.least : reach.most;
    const double sign = side.high ? 1 : -1;
    if (sign * value <= sign * Loosened(side.bound(problem), sign, reach.magnitude)) continue;
    const double relaxation = side.Relaxation(problem, value);
    if (!farthest || relaxation > farthest->relaxation) farthest = {side, value, relaxation};
  }
  return farthest;
}

SingleMoves FindSingleMoves(const MipProblem& problem, const std::vector<LimitSide>& sides,
                            const MipOptions& options) {
  SingleMoves found;
  for (const LimitSide& side : sides) {
    const MipSolution nearest = NearestWithout(problem, side, options);
    if (!nearest.choice.empty()) {
      const double value = nearest.totals[side.limit];
      found.moves.push_back({side, value, side.Relaxation(problem, value)});
    } else if (nearest.status != SolveStatus::kInfeasible) {
      found.all_known = false;
    }
  }
  return found;
}

// All limits widened by the same part of themselves, `part`.
MipProblem Widened(const MipProblem& problem, double part) {
  MipProblem wider = problem;
  for (MipLimit& limit : wider.limits) {
    limit.high += part * std::abs(limit.high);
    limit.low -= part * std::abs(limit.low);
  }
  return wider;
}

// The least common widening of all limits that makes the problem feasible, to 0.1 %, in words.
std::string DescribeCommonMove(const MipProblem& problem, const std::vector<LimitSide>& sides,
                               const MipOptions& options) {
  MipProblem any = problem;
  for (auto& group : any.groups) {
    for (MipOption& option : group) option.score = 0;
  }
  const auto works = [&](double part) {
    return !SolveMip(Widened(any, part), options).choice.empty();
  };
  double low = 0, high = 1e-3;
  while (high < 1e3 && !works(high)) high *= 2;
  if (high >= 1e3) return "";
  while (high - low > 1e-3 * (1 + low)) {
    const double middle = (low + high) / 2;
    (works(middle) ? high : low) = middle;
  }
  std::string text;
  const MipProblem wider = Widened(problem, high);
  for (const LimitSide& side : sides) {
    text +=
        fmt::format("{}{} {} {:.6g}", text.empty() ? "" : ", ", problem.limits[side.limit].resource,
                    side.high ? "<=" : ">=", side.bound(wider));
  }
  return fmt::format("; all of them widened by {:.1f} % would work: {}", 100 * high, text);
}

std::string DescribeBeyondReach(const MipProblem& problem, const Move& beyond,
                                const SingleMoves& found) {
  std::string text =
      fmt::format("{} cannot be met by any choice: the {} possible is {:.12g}",
                  beyond.side.Describe(problem), beyond.side.high ? "least" : "most", beyond.value);
  const auto alone = std::find_if(found.moves.begin(), found.moves.end(), [&](const Move& move) {
    return move.side.limit == beyond.side.limit && move.side.high == beyond.side.high;
  });
  if (alone == found.moves.end()) {
    return found.all_known ? text + ", and the other limits cannot be met together either" : text;
  }
  if (alone->relaxation <= beyond.relaxation * (1 + 1e-9)) return text;
  return fmt::format("{}, and {:.12g} with the other limits kept", text, alone->value);
}

std::string DescribeSmallest(const MipProblem& problem, const Move& move) {
  const MipReach reach = ReachOf(problem, move.side.limit);
  return fmt::format(
      "{} can be met alone (the {} possible is {:.12g}), but not together with the other limits: "
      "the nearest value that works is {:.12g}",
      move.side.Describe(problem), move.side.high ? "least" : "most",
      move.side.high ? reach.least : reach.most, move.value);
}

std::vector<WorkableLimit> WorkableLimits(const MipProblem& problem,
                                          const std::vector<Move>& moves) {
  std::vector<WorkableLimit> result;
  for (const Move& move : moves) {
    result.push_back({problem.limits[move.side.limit].resource, move.side.high,
                      move.side.bound(problem), move.value});
  }
  return result;
}

}  // namespace

MipExplanation ExplainInfeasible(const MipProblem& problem, const MipOptions& options) {
  for (const MipLimit& limit : problem.limits) {
    if (limit.low <= limit.high) continue;
    return {fmt::format("{} must be at least {:.12g} and at most {:.12g}, which contradict",
                        limit.resource, limit.low, limit.high),
            {}};
  }
  const std::vector<LimitSide> sides = FiniteSides(problem);
  MipOptions quick = options;
  quick.explain = false;
  quick.hint = {};
  quick.time_limit_s = options.time_limit_s / static_cast<double>(sides.size() + 1);
  const SingleMoves found = FindSingleMoves(problem, sides, quick);
  const std::vector<Move>& moves = found.moves;
  MipExplanation explanation;
  explanation.nearest = WorkableLimits(problem, moves);
  if (const auto beyond = FarthestBeyondReach(problem, sides)) {
    explanation.text = DescribeBeyondReach(problem, *beyond, found);
  } else if (moves.empty()) {
    explanation.text = "each limit can be met alone, but no choice meets all of them";
    explanation.text +=
        found.all_known ? ", nor all but one" : "; there was no time to find out which one to move";
  } else {
    explanation.text = DescribeSmallest(
        problem, *std::min_element(moves.begin(), moves.end(), [](const Move& a, const Move& b) {
          return a.relaxation < b.relaxation;
        }));
  }
  if (moves.empty() && found.all_known) {
    explanation.text += DescribeCommonMove(problem, sides, quick);
  }
  return explanation;
}

}  // namespace puzzle
