// Problems that several tests solve.
#pragma once

#include <cmath>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "io/random.h"
#include "nodes/solver/mip.h"

namespace puzzle {

/// Calls `visit` with every choice there is.
inline void ForEachChoice(const MipProblem& problem,
                          const std::function<void(const std::vector<int>&)>& visit) {
  std::vector<int> choice(problem.groups.size(), 0);
  for (;;) {
    visit(choice);
    size_t g = 0;
    while (g < choice.size() && ++choice[g] == static_cast<int>(problem.groups[g].size())) {
      choice[g++] = 0;
    }
    if (g == choice.size()) return;
  }
}

/// The least sum of scores within the limits, by trying everything.
inline std::optional<double> BruteForce(const MipProblem& problem) {
  std::optional<double> best;
  ForEachChoice(problem, [&](const std::vector<int>& choice) {
    if (!WithinLimits(problem, ChoiceTotals(problem, choice))) return;
    const double score = ChoiceScore(problem, choice);
    if (!best || score < *best) best = score;
  });
  return best;
}

/// Up to 4 groups of up to 4 options under up to 3 limits, of any unit between 1e-4 and 1e8, with
/// lower and upper bounds that lie near, or exactly at, what some choice uses. `lattice` draws
/// scores and costs that tie often.
inline MipProblem RandomProblem(Random& random, bool lattice) {
  const auto draw = [&] {
    return lattice ? static_cast<double>(random.Below(6)) : random.Uniform() - 0.2;
  };
  MipProblem problem;
  std::vector<double> units;
  for (uint64_t r = random.Below(4); r > 0; --r) {
    units.push_back(std::pow(10.0, static_cast<double>(random.Below(13)) - 4));
    problem.limits.push_back({.resource = "resource" + std::to_string(r),
                              .fixed = random.Chance(1, 3) ? 50 * units.back() : 0});
  }
  std::vector<int> choice;
  for (uint64_t g = 1 + random.Below(4); g > 0; --g) {
    auto& group = problem.groups.emplace_back();
    for (uint64_t o = 1 + random.Below(4); o > 0; --o) {
      MipOption option{"option" + std::to_string(o), draw(), {}};
      for (double unit : units) option.costs.push_back(unit * draw());
      group.push_back(std::move(option));
    }
    choice.push_back(static_cast<int>(random.Below(group.size())));
  }
  const std::vector<double> totals = ChoiceTotals(problem, choice);
  for (size_t r = 0; r < units.size(); ++r) {
    const double slack = random.Chance(1, 2) ? 0 : (random.Uniform() - 0.3) * units[r];
    const bool both = random.Chance(1, 4);
    const bool high = both || random.Chance(2, 3);
    if (high) problem.limits[r].high = totals[r] + slack;
    if (both || !high) problem.limits[r].low = totals[r] - slack;
  }
  return problem;
}

/// 12 to 20 groups of up to 6 options under 1 to 3 limits, some on both sides; those of a lattice
/// leave a single total, the others a band that branch and cut can work with.
inline MipProblem MediumProblem(Random& random, bool lattice) {
  const auto draw = [&] {
    return lattice ? static_cast<double>(random.Below(8)) / 8 : random.Uniform();
  };
  MipProblem problem;
  const uint64_t rows = 1 + random.Below(3);
  for (uint64_t r = 0; r < rows; ++r) {
    problem.limits.push_back({.resource = "resource" + std::to_string(r)});
  }
  std::vector<int> choice;
  for (uint64_t g = 12 + random.Below(9); g > 0; --g) {
    auto& group = problem.groups.emplace_back();
    for (uint64_t o = 1 + random.Below(6); o > 0; --o) {
      MipOption option{"option" + std::to_string(o), draw() - 0.3, {}};
      for (uint64_t r = 0; r < rows; ++r) option.costs.push_back(draw());
      group.push_back(std::move(option));
    }
    choice.push_back(static_cast<int>(random.Below(group.size())));
  }
  const std::vector<double> totals = ChoiceTotals(problem, choice);
  for (uint64_t r = 0; r < rows; ++r) {
    const double slack = lattice ? 0 : 0.3 + 0.3 * random.Uniform();
    const bool both = random.Chance(1, 4);
    const bool high = both || random.Chance(2, 3);
    if (high) problem.limits[r].high = totals[r] + slack;
    if (both || !high) problem.limits[r].low = totals[r] - slack;
  }
  return problem;
}

/// `layers` groups of eight options each under two competing limits: a second's work or so for a
/// branch and bound, far from the reach of brute force.
inline MipProblem HardProblem(int layers, uint64_t seed) {
  Random random(seed);
  MipProblem problem;
  problem.limits = {{.resource = "memory", .high = 0.35 * layers},
                    {.resource = "time", .high = 0.375 * layers}};
  for (int g = 0; g < layers; ++g) {
    auto& group = problem.groups.emplace_back();
    for (int o = 0; o < 8; ++o) {
      const double memory = random.Uniform(), time = random.Uniform();
      group.push_back({"option" + std::to_string(o),
                       2 - memory - time + 0.3 * random.Uniform(),
                       {memory, time}});
    }
  }
  return problem;
}

}  // namespace puzzle
