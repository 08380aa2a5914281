#include "nodes/solver/baselines.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "io/random.h"
#include "nodes/solver/mip_limits.h"

namespace puzzle {
namespace {

constexpr int kDraws = 20000;        // before rejection is given up
constexpr int kStepsPerGroup = 500;  // of the random walk

std::vector<std::string> OptionNames(const std::vector<MipOption>& group) {
  std::vector<std::string> names;
  for (const MipOption& option : group) names.push_back(option.name);
  return names;
}

// How far `totals` are from a choice that is within the limits and uses `near` of its budget; 0
// when it is such a choice. Relative to each bound, so that resources compare.
class Shortfall {
 public:
  Shortfall(const MipProblem& problem, double near) : problem_(problem), near_(near) {
    for (size_t r = 0; r < problem.limits.size() && budget_ < 0; ++r) {
      if (std::isfinite(problem.limits[r].high)) budget_ = static_cast<int>(r);
    }
  }

  [[nodiscard]] double Excess(const std::vector<double>& totals) const {
    if (WithinLimits(problem_, totals)) return 0;
    double excess = 0;
    for (size_t r = 0; r < totals.size(); ++r) {
      const MipLimit& limit = problem_.limits[r];
      if (totals[r] > limit.high) excess += (totals[r] - limit.high) / Unit(limit.high);
      if (totals[r] < limit.low) excess += (limit.low - totals[r]) / Unit(limit.low);
    }
    return excess;
  }
  [[nodiscard]] double Unused(const std::vector<double>& totals) const {
    if (budget_ < 0) return 0;
    const double high = problem_.limits[budget_].high;
    return std::max(0.0, (near_ * high - totals[budget_]) / Unit(high));
  }

 private:
  static double Unit(double bound) { return bound == 0 ? 1 : std::abs(bound); }

  const MipProblem& problem_;
  double near_;
  int budget_ = -1;  // the first limit with a finite high
};

class RandomSearch {
 public:
  RandomSearch(const MipProblem& problem, uint64_t seed, double near)
      : problem_(problem), shortfall_(problem, near), random_(seed) {}

  // The first draw that fits, or nothing.
  std::optional<std::vector<int>> Reject() {
    for (int i = 0; i < kDraws; ++i) {
      std::vector<int> choice = Draw();
      if (Judge(choice) == 0) return choice;
    }
    return std::nullopt;
  }

  // Walks from a draw towards a choice that fits, never away from it.
  std::optional<std::vector<int>> Repair() {
    std::vector<int> choice = Draw();
    double distance = Judge(choice);
    const size_t steps = kStepsPerGroup * problem_.groups.size();
    for (size_t i = 0; i < steps && distance > 0; ++i) {
      const size_t g = random_.Below(problem_.groups.size());
      const int before = choice[g];
      choice[g] = DrawOption(g);
      const double moved = Judge(choice);
      if (moved <= distance) {
        distance = moved;
      } else {
        choice[g] = before;
      }
    }
    if (fullest_.empty()) return std::nullopt;
    return fullest_;
  }

  // A choice within the limits that random scores prefer: for limits that walks do not find into.
  std::optional<std::vector<int>> Solve() {
    MipProblem scrambled = problem_;
    for (auto& group : scrambled.groups) {
      for (MipOption& option : group) option.score = random_.Uniform();
    }
    MipSolution solution = SolveMip(scrambled);
    if (solution.choice.empty()) return std::nullopt;
    return std::move(solution.choice);
  }

 private:
  int DrawOption(size_t g) { return static_cast<int>(random_.Below(problem_.groups[g].size())); }

  std::vector<int> Draw() {
    std::vector<int> choice;
    for (size_t g = 0; g < problem_.groups.size(); ++g) choice.push_back(DrawOption(g));
    return choice;
  }

  // Distance to a choice that fits; remembers the fullest one within the limits.
  double Judge(const std::vector<int>& choice) {
    const std::vector<double> totals = ChoiceTotals(problem_, choice);
    const double excess = shortfall_.Excess(totals);
    const double unused = shortfall_.Unused(totals);
    if (excess == 0 && (fullest_.empty() || unused < fullest_unused_)) {
      fullest_ = choice;
      fullest_unused_ = unused;
    }
    return excess + unused;
  }

  const MipProblem& problem_;
  Shortfall shortfall_;
  Random random_;
  std::vector<int> fullest_;  // empty: none yet
  double fullest_unused_ = 0;
};

// The option of each group with the least sum of costs, each relative to its largest difference.
std::vector<int> CheapestOptions(const MipProblem& problem) {
  std::vector<double> units;
  for (size_t r = 0; r < problem.limits.size(); ++r) {
    const MipReach reach = ReachOf(problem, r);
    units.push_back(reach.most > reach.least ? reach.most - reach.least : 1);
  }
  const auto size = [&](const MipOption& option) {
    double sum = 0;
    for (size_t r = 0; r < units.size(); ++r) sum += option.costs[r] / units[r];
    return sum;
  };
  std::vector<int> cheapest;
  for (const auto& group : problem.groups) {
    const auto least =
        std::min_element(group.begin(), group.end(),
                         [&](const MipOption& a, const MipOption& b) { return size(a) < size(b); });
    cheapest.push_back(static_cast<int>(least - group.begin()));
  }
  return cheapest;
}

}  // namespace

std::optional<std::vector<int>> BestUniform(const MipProblem& problem) {
  // Groups of one kind become one group whose options cost and score their sum, which leaves a
  // small problem of the same form.
  MipProblem merged{{}, problem.limits};
  std::map<std::vector<std::string>, size_t> kinds;
  std::vector<size_t> kind_of;
  for (const auto& group : problem.groups) {
    const auto [kind, is_new] = kinds.try_emplace(OptionNames(group), merged.groups.size());
    kind_of.push_back(kind->second);
    if (is_new) {
      merged.groups.push_back(group);
      continue;
    }
    for (size_t o = 0; o < group.size(); ++o) {
      MipOption& sum = merged.groups[kind->second][o];
      sum.score += group[o].score;
      for (size_t r = 0; r < sum.costs.size(); ++r) sum.costs[r] += group[o].costs[r];
    }
  }
  const MipSolution solution = SolveMip(merged);
  if (solution.choice.empty()) return std::nullopt;
  std::vector<int> choice;
  for (size_t kind : kind_of) choice.push_back(solution.choice[kind]);
  return choice;
}

std::optional<std::vector<int>> BestDepth(const MipProblem& problem) {
  const std::vector<int> cheapest = CheapestOptions(problem);
  MipProblem pruned{{}, problem.limits};
  for (size_t g = 0; g < cheapest.size(); ++g) {
    const auto& group = problem.groups[g];
    pruned.groups.push_back({group.front(), group[static_cast<size_t>(cheapest[g])]});
  }
  const MipSolution solution = SolveMip(pruned, {.explain = false});
  if (solution.choice.empty()) return std::nullopt;
  std::vector<int> choice;
  for (size_t g = 0; g < cheapest.size(); ++g) {
    choice.push_back(solution.choice[g] == 0 ? 0 : cheapest[g]);
  }
  return choice;
}

std::optional<std::vector<int>> LastDropped(const MipProblem& problem) {
  const std::vector<int> cheapest = CheapestOptions(problem);
  std::vector<int> choice(cheapest.size(), 0);
  for (size_t g = choice.size(); !WithinLimits(problem, ChoiceTotals(problem, choice)); --g) {
    if (g == 0) return std::nullopt;
    choice[g - 1] = cheapest[g - 1];
  }
  return choice;
}

std::optional<std::vector<int>> LargestChoice(const MipProblem& problem,
                                              const std::vector<std::vector<double>>& sizes) {
  MipProblem largest = problem;
  for (size_t g = 0; g < largest.groups.size(); ++g) {
    for (size_t o = 0; o < largest.groups[g].size(); ++o) {
      largest.groups[g][o].score = -sizes[g][o];
    }
  }
  MipSolution solution = SolveMip(largest, {.explain = false});
  if (solution.choice.empty()) return std::nullopt;
  return std::move(solution.choice);
}

std::optional<std::vector<int>> RandomChoice(const MipProblem& problem, uint64_t seed,
                                             double near) {
  RandomSearch search(problem, seed, near);
  if (auto choice = search.Reject()) return choice;
  if (auto choice = search.Repair()) return choice;
  return search.Solve();
}

}  // namespace puzzle
