#include "nodes/solver/greedy.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "nodes/solver/mip_limits.h"

namespace puzzle {
namespace {

std::vector<int> BestOptions(const MipProblem& problem) {
  std::vector<int> choice;
  for (const auto& group : problem.groups) {
    const auto best =
        std::min_element(group.begin(), group.end(),
                         [](const MipOption& a, const MipOption& b) { return a.score < b.score; });
    choice.push_back(static_cast<int>(best - group.begin()));
  }
  return choice;
}

std::vector<size_t> EasiestFirst(const MipProblem& problem) {
  std::vector<double> mean;
  for (const auto& group : problem.groups) {
    double sum = 0;
    for (const MipOption& option : group) sum += option.score;
    mean.push_back(sum / static_cast<double>(group.size()));
  }
  std::vector<size_t> order(problem.groups.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return mean[a] < mean[b]; });
  return order;
}

}  // namespace

Repairer::Repairer(const MipProblem& problem) : problem_(problem) {
  for (size_t r = 0; r < problem.limits.size(); ++r) {
    const MipReach reach = ReachOf(problem, r);
    low_.push_back(Loosened(problem.limits[r].low, -1, reach.magnitude));
    high_.push_back(Loosened(problem.limits[r].high, 1, reach.magnitude));
    unit_.push_back(reach.most > reach.least ? reach.most - reach.least : 1);
  }
}

double Repairer::ViolationAfter(const std::vector<double>& totals, size_t group, int from,
                                int to) const {
  const auto& options = problem_.groups[group];
  double violation = 0;
  for (size_t r = 0; r < totals.size(); ++r) {
    const double total = totals[r] + options[to].costs[r] - options[from].costs[r];
    if (total > high_[r]) violation += (total - high_[r]) / unit_[r];
    if (total < low_[r]) violation += (low_[r] - total) / unit_[r];
  }
  return violation;
}

bool Repairer::Repair(std::vector<int>& choice) const {
  for (;;) {
    const std::vector<double> totals = ChoiceTotals(problem_, choice);
    const double violation = ViolationAfter(totals, 0, choice[0], choice[0]);
    if (violation == 0) return true;
    double best_ratio = kInfinity;
    size_t best_group = 0;
    int best_option = -1;
    for (size_t g = 0; g < choice.size(); ++g) {
      const auto& options = problem_.groups[g];
      for (int o = 0; o < static_cast<int>(options.size()); ++o) {
        const double removed = violation - ViolationAfter(totals, g, choice[g], o);
        if (o == choice[g] || removed <= 1e-12 * violation) continue;
        // Steps that even gain score come first, the larger the better.
        const double loss = options[o].score - options[choice[g]].score;
        const double ratio = loss > 0 ? loss / removed : loss * removed;
        if (ratio < best_ratio) {
          best_ratio = ratio;
          best_group = g;
          best_option = o;
        }
      }
    }
    if (best_option < 0) return false;
    choice[best_group] = best_option;
  }
}

void Repairer::Improve(std::vector<int>& choice) const {
  for (bool improved = true; improved;) {
    improved = false;
    const std::vector<double> totals = ChoiceTotals(problem_, choice);
    double best_gain = 0;
    size_t best_group = 0;
    int best_option = 0;
    for (size_t g = 0; g < choice.size(); ++g) {
      const auto& options = problem_.groups[g];
      for (int o = 0; o < static_cast<int>(options.size()); ++o) {
        const double gain = options[choice[g]].score - options[o].score;
        if (gain <= best_gain || ViolationAfter(totals, g, choice[g], o) > 0) continue;
        best_gain = gain;
        best_group = g;
        best_option = o;
        improved = true;
      }
    }
    if (improved) choice[best_group] = best_option;
  }
}

std::optional<std::vector<int>> ShareGreedy(const MipProblem& problem) {
  std::vector<int> choice(problem.groups.size(), 0);
  std::vector<double> left;
  for (const MipLimit& limit : problem.limits) left.push_back(limit.high - limit.fixed);
  double remaining = static_cast<double>(problem.groups.size());
  for (const size_t g : EasiestFirst(problem)) {
    const auto& options = problem.groups[g];
    // By how much the worst row exceeds its share.
    const auto excess = [&](const MipOption& option) {
      double most = 0;
      for (size_t r = 0; r < left.size(); ++r) {
        const double share = left[r] / remaining;
        if (std::isfinite(share)) {
          most = std::max(most, (option.costs[r] - share) / std::max(std::abs(share), 1e-300));
        }
      }
      return most;
    };
    const auto better = [&](const MipOption& a, const MipOption& b) {
      const double excess_a = excess(a), excess_b = excess(b);
      return excess_a != excess_b ? excess_a < excess_b : a.score < b.score;
    };
    const auto best = std::min_element(options.begin(), options.end(), better);
    choice[g] = static_cast<int>(best - options.begin());
    for (size_t r = 0; r < left.size(); ++r) left[r] -= best->costs[r];
    remaining -= 1;
  }
  if (!WithinLimits(problem, ChoiceTotals(problem, choice))) return std::nullopt;
  return choice;
}

std::optional<std::vector<int>> EfficiencyGreedy(const MipProblem& problem) {
  const Repairer repairer(problem);
  std::vector<int> choice = BestOptions(problem);
  if (!repairer.Repair(choice)) return std::nullopt;
  repairer.Improve(choice);
  return choice;
}

}  // namespace puzzle
