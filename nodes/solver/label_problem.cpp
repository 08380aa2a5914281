#include "nodes/solver/label_problem.h"

#include <algorithm>
#include <cmath>

namespace puzzle {
namespace {

// Bounds are sums of rounded terms, a price times a cost for every group and row; choices this
// close to the threshold stay.
double RoundingOf(const MipCore& core, const std::vector<double>& prices) {
  double terms = 1;
  for (const double price : prices) terms += std::abs(price);
  return 1e-14 * terms * static_cast<double>(core.groups() + 1);
}

LabelGroup OptionsWithin(const MipCore& core, const std::vector<double>& prices, size_t group,
                         double most) {
  std::vector<double> priced;
  size_t cheapest = 0;
  const int first = core.first[group], last = core.first[group + 1];
  for (int c = first; c < last; ++c) {
    double value = core.score[c];
    for (size_t r = 0; r < core.n_rows(); ++r) value += prices[r] * core.costs(c)[r];
    priced.push_back(value);
    if (value < priced[cheapest]) cheapest = priced.size() - 1;
  }
  const int base = first + static_cast<int>(cheapest);
  LabelGroup result{group, {}};
  const auto add = [&](int c, double excess) {
    LabelOption option{c, excess, core.score[c] - core.score[base], {}};
    for (size_t r = 0; r < core.n_rows(); ++r) {
      option.costs.push_back(core.costs(c)[r] - core.costs(base)[r]);
    }
    result.options.push_back(std::move(option));
  };
  add(base, 0);
  for (int c = first; c < last; ++c) {
    const double excess = priced[static_cast<size_t>(c - first)] - priced[cheapest];
    if (c != base && excess <= most) add(c, excess);
  }
  std::stable_sort(result.options.begin() + 1, result.options.end(),
                   [](const LabelOption& a, const LabelOption& b) { return a.excess < b.excess; });
  return result;
}

std::vector<LabelGroup> DearestAtTheEnds(std::vector<LabelGroup> groups) {
  const auto step = [](const LabelGroup& group) {
    return group.options.size() > 1 ? group.options[1].excess : kInfinity;
  };
  std::stable_sort(groups.begin(), groups.end(),
                   [&](const LabelGroup& a, const LabelGroup& b) { return step(a) > step(b); });
  std::vector<LabelGroup> ordered(groups.size());
  for (size_t i = 0; i < groups.size(); ++i) {
    ordered[i % 2 == 0 ? i / 2 : groups.size() - 1 - i / 2] = std::move(groups[i]);
  }
  return ordered;
}

}  // namespace

LabelProblem MakeLabelProblem(const MipCore& core, const LagrangeBound& lagrange, double distance) {
  LabelProblem problem;
  problem.bound = lagrange.bound;
  problem.distance = distance;
  problem.tolerance = RoundingOf(core, lagrange.prices);
  for (size_t g = 0; g < core.groups(); ++g) {
    problem.groups.push_back(OptionsWithin(core, lagrange.prices, g, distance + problem.tolerance));
  }
  for (size_t r = 0; r < core.n_rows(); ++r) {
    problem.rows.push_back({core.rows[r].low, core.rows[r].high, lagrange.prices[r]});
  }
  for (const LabelGroup& group : problem.groups) {
    const int base = group.options.front().column;
    problem.base_score += core.score[base];
    for (size_t r = 0; r < core.n_rows(); ++r) {
      problem.rows[r].low -= core.costs(base)[r];
      problem.rows[r].high -= core.costs(base)[r];
    }
  }
  problem.groups = DearestAtTheEnds(std::move(problem.groups));
  return problem;
}

}  // namespace puzzle
