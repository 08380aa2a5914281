#include "nodes/solver/mip_limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "io/error.h"

namespace puzzle {
namespace {

// A total may exceed its limit by this part of the limit.
constexpr double kLimitTolerance = 1e-9;
// ... and by this part of what cancels in it, since sums of doubles are rounded.
constexpr double kRounding = 1e-14;

bool Within(double total, const MipLimit& limit, double magnitude) {
  return total <= Loosened(limit.high, 1, magnitude) && total >= Loosened(limit.low, -1, magnitude);
}

// True when nothing is lost by never choosing `b` because `a`, which scores no worse, is at hand.
bool NoWorse(const MipOption& a, const MipOption& b, const std::vector<MipLimit>& limits) {
  for (size_t r = 0; r < limits.size(); ++r) {
    if (std::isfinite(limits[r].high) && a.costs[r] > b.costs[r]) return false;
    if (std::isfinite(limits[r].low) && a.costs[r] < b.costs[r]) return false;
  }
  return true;
}

}  // namespace

std::vector<int> UndominatedOptions(const std::vector<MipOption>& group,
                                    const std::vector<int>& among,
                                    const std::vector<MipLimit>& limits) {
  std::vector<int> order = among;
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return group[a].score < group[b].score; });
  std::vector<int> kept;
  for (size_t i = 0; i < order.size(); ++i) {
    const MipOption& option = group[order[i]];
    const auto beaten_by = [&](int other) { return NoWorse(group[other], option, limits); };
    if (std::any_of(kept.begin(), kept.end(), beaten_by)) continue;
    // An option behind it with the same score may still be better for the limits.
    bool beaten = false;
    for (size_t j = i + 1; j < order.size() && group[order[j]].score == option.score; ++j) {
      beaten |= beaten_by(order[j]) && !NoWorse(option, group[order[j]], limits);
    }
    if (!beaten) kept.push_back(order[i]);
  }
  std::sort(kept.begin(), kept.end());
  return kept;
}

std::vector<int> UndominatedOptions(const std::vector<MipOption>& group,
                                    const std::vector<MipLimit>& limits) {
  std::vector<int> all(group.size());
  std::iota(all.begin(), all.end(), 0);
  return UndominatedOptions(group, all, limits);
}

MipReach ReachOf(const MipProblem& problem, size_t limit) {
  const double fixed = problem.limits[limit].fixed;
  MipReach reach{fixed, fixed, std::abs(fixed)};
  bool any_negative = fixed < 0;
  bool any_positive = fixed > 0;
  for (const auto& group : problem.groups) {
    double least = kInfinity, most = -kInfinity;
    for (const MipOption& option : group) {
      least = std::min(least, option.costs[limit]);
      most = std::max(most, option.costs[limit]);
    }
    reach.least += least;
    reach.most += most;
    reach.magnitude += std::max(std::abs(least), std::abs(most));
    any_negative = any_negative || least < 0;
    any_positive = any_positive || most > 0;
  }
  if (!any_negative || !any_positive) reach.magnitude = 0;
  return reach;
}

double Loosened(double bound, double direction, double magnitude) {
  if (!std::isfinite(bound)) return bound;
  return bound + direction * (kLimitTolerance * std::abs(bound) + kRounding * magnitude);
}

void CheckMipProblem(const MipProblem& problem) {
  for (const MipLimit& limit : problem.limits) {
    if (std::isnan(limit.low) || std::isnan(limit.high) || !std::isfinite(limit.fixed)) {
      throw Error(fmt::format("limit on '{}' is not a number: low {}, high {}, fixed {}",
                              limit.resource, limit.low, limit.high, limit.fixed));
    }
  }
  if (problem.groups.empty()) throw Error("nothing to choose: there are no groups");
  for (size_t g = 0; g < problem.groups.size(); ++g) {
    if (problem.groups[g].empty()) throw Error(fmt::format("group {} has no options", g));
    for (const MipOption& option : problem.groups[g]) {
      PUZZLE_CHECK(option.costs.size() == problem.limits.size(),
                   fmt::format("group {}, option '{}'", g, option.name));
      if (!std::isfinite(option.score)) {
        throw Error(
            fmt::format("group {}, option '{}': score is {}", g, option.name, option.score));
      }
      for (size_t r = 0; r < option.costs.size(); ++r) {
        if (!std::isfinite(option.costs[r])) {
          throw Error(fmt::format("group {}, option '{}': cost '{}' is {}", g, option.name,
                                  problem.limits[r].resource, option.costs[r]));
        }
      }
    }
  }
}

std::vector<double> ChoiceTotals(const MipProblem& problem, const std::vector<int>& choice) {
  PUZZLE_CHECK(choice.size() == problem.groups.size(), "one option per group");
  std::vector<double> totals;
  for (size_t r = 0; r < problem.limits.size(); ++r) {
    double total = problem.limits[r].fixed;
    for (size_t g = 0; g < choice.size(); ++g) total += problem.groups[g][choice[g]].costs[r];
    totals.push_back(total);
  }
  return totals;
}

double ChoiceScore(const MipProblem& problem, const std::vector<int>& choice) {
  PUZZLE_CHECK(choice.size() == problem.groups.size(), "one option per group");
  double score = 0;
  for (size_t g = 0; g < choice.size(); ++g) score += problem.groups[g][choice[g]].score;
  return score;
}

bool WithinLimits(const MipProblem& problem, const std::vector<double>& totals) {
  for (size_t r = 0; r < totals.size(); ++r) {
    if (!Within(totals[r], problem.limits[r], ReachOf(problem, r).magnitude)) return false;
  }
  return true;
}

}  // namespace puzzle
