#include "nodes/solver/mip_exact.h"

#include <algorithm>
#include <cmath>

#include "nodes/solver/label_search.h"
#include "nodes/solver/lagrange.h"
#include "nodes/solver/mip_cbc.h"
#include "nodes/solver/mip_core.h"
#include "nodes/solver/mip_limits.h"

namespace puzzle {
namespace {

constexpr size_t kMaxLabels = 3'000'000;

class ExactSolver {
 public:
  ExactSolver(const MipProblem& problem, const MipClock& clock)
      : problem_(problem), clock_(clock), core_(MakeMipCore(problem)) {}

  MipSolution Solve(const MipHint& hint) {
    if (clock_.left_s() <= 0) return {};
    if (!core_.feasible) return Infeasible();
    lagrange_ = MaximizeLagrangian(core_, PricesOf(hint), clock_);
    if (lagrange_.infeasible) return Infeasible();
    proven_ = lagrange_.bound;
    if (hint.choice.size() == problem_.groups.size()) Offer(hint.choice);
    if (!Deepen() && !clock_.Expired()) FinishWithCbc();
    return Answer();
  }

 private:
  static MipSolution Infeasible() {
    MipSolution solution;
    solution.status = SolveStatus::kInfeasible;
    return solution;
  }

  // Multipliers are score per unit of a resource, prices the same in the core's units.
  [[nodiscard]] std::vector<double> PricesOf(const MipHint& hint) const {
    std::vector<double> prices;
    if (hint.multipliers.size() != problem_.limits.size()) return prices;
    for (const MipCore::Row& row : core_.rows) {
      prices.push_back(hint.multipliers[row.limit] * row.unit / core_.score_unit);
    }
    return prices;
  }

  [[nodiscard]] double Scaled(double score) const {
    return (score - core_.score_offset) / core_.score_unit;
  }

  // Takes a choice if it is within the limits and better than what is known.
  bool Offer(const std::vector<int>& choice) {
    for (size_t g = 0; g < choice.size(); ++g) {
      if (choice[g] < 0 || static_cast<size_t>(choice[g]) >= problem_.groups[g].size())
        return false;
    }
    if (!WithinLimits(problem_, ChoiceTotals(problem_, choice))) return false;
    const double score = Scaled(ChoiceScore(problem_, choice));
    if (score < best_score_) {
      best_score_ = score;
      best_ = choice;
    }
    return true;
  }

  // The distance from the bound at which a few options per row come into play beside the cheapest
  // of every group: small enough to be searched at once.
  [[nodiscard]] double FirstDistance() const {
    std::vector<double> reduced;
    for (size_t g = 0; g < core_.groups(); ++g) {
      double least = kInfinity;
      const size_t begin = reduced.size();
      for (int c = core_.first[g]; c < core_.first[g + 1]; ++c) {
        double value = core_.score[c];
        for (size_t r = 0; r < core_.n_rows(); ++r)
          value += lagrange_.prices[r] * core_.costs(c)[r];
        reduced.push_back(value);
        least = std::min(least, value);
      }
      for (size_t i = begin; i < reduced.size(); ++i) reduced[i] -= least;
    }
    const size_t wanted = std::min(reduced.size() - 1, core_.groups() + 8 * core_.n_rows());
    std::nth_element(reduced.begin(), reduced.begin() + static_cast<std::ptrdiff_t>(wanted),
                     reduced.end());
    return std::max(reduced[wanted], 1e-9);
  }

  // By what factor to go farther after a search of this effort. With independent options the number
  // of labels grows like the exponential of the distance's root: this step makes it four times as
  // many.
  static double Step(size_t labels) {
    const double exponent = std::log(static_cast<double>(labels) + 8);
    const double ratio = 1 + std::log(4.0) / exponent;
    return ratio * ratio;
  }

  // Searches ever farther from the bound; each search that finds nothing moves what is proven.
  // False when one could not be finished.
  bool Deepen() {
    const double largest = static_cast<double>(core_.groups()) + 1;  // no choice scores above
    for (double distance = FirstDistance();;) {
      const double threshold = std::min(lagrange_.bound + distance, best_score_);
      const LabelSearchResult found = SearchLabels(core_, lagrange_, threshold, kMaxLabels, clock_);
      if (!found.columns.empty() && !Offer(ChoiceOfColumns(core_, found.columns))) return false;
      if (!found.complete) return false;
      proven_ = std::max(proven_, std::min(threshold, best_score_));
      if (best_score_ <= threshold || threshold > largest) {
        finished_ = true;
        return true;
      }
      distance *= Step(found.labels);
      // Just short of the incumbent would be a search wasted.
      const double incumbent = best_score_ - lagrange_.bound;
      if (incumbent < distance * std::sqrt(Step(found.labels))) {
        distance = std::max(distance, incumbent);
      }
    }
  }

  // What remains is the problem without the options whose reduced scores rule them out.
  void FinishWithCbc() {
    MipProblem rest{{}, problem_.limits};
    std::vector<std::vector<int>> options;
    for (size_t g = 0; g < core_.groups(); ++g) {
      rest.groups.emplace_back();
      options.emplace_back();
      for (int c : ColumnsBelow(g, best_score_)) {
        rest.groups.back().push_back(problem_.groups[g][core_.option[c]]);
        options.back().push_back(core_.option[c]);
      }
    }
    const double cutoff = best_.empty() ? kInfinity : core_.ToProblem(best_score_);
    const MipSolution found = SolveWithCbc(rest, clock_, cutoff);
    if (!found.choice.empty()) {
      std::vector<int> choice;
      for (size_t g = 0; g < options.size(); ++g) choice.push_back(options[g][found.choice[g]]);
      Offer(choice);
    }
    finished_ = found.status == SolveStatus::kOptimal || found.status == SolveStatus::kInfeasible;
    if (!finished_) proven_ = std::max(proven_, std::min(Scaled(found.bound), best_score_));
  }

  [[nodiscard]] std::vector<int> ColumnsBelow(size_t g, double score) const {
    std::vector<double> values;
    for (int c = core_.first[g]; c < core_.first[g + 1]; ++c) {
      values.push_back(core_.score[c]);
      for (size_t r = 0; r < core_.n_rows(); ++r) {
        values.back() += lagrange_.prices[r] * core_.costs(c)[r];
      }
    }
    const double least = *std::min_element(values.begin(), values.end());
    std::vector<int> columns;
    for (size_t i = 0; i < values.size(); ++i) {
      if (lagrange_.bound + values[i] - least <= score + 1e-9) {
        columns.push_back(core_.first[g] + static_cast<int>(i));
      }
    }
    return columns;
  }

  [[nodiscard]] MipSolution Answer() const {
    if (finished_ && best_.empty()) return Infeasible();
    MipSolution solution;
    solution.bound = core_.ToProblem(proven_);
    solution.multipliers.assign(problem_.limits.size(), 0);
    for (size_t r = 0; r < core_.n_rows(); ++r) {
      const MipCore::Row& row = core_.rows[r];
      solution.multipliers[row.limit] = lagrange_.prices[r] * core_.score_unit / row.unit;
    }
    if (best_.empty()) return solution;
    solution.status = finished_ ? SolveStatus::kOptimal : SolveStatus::kFeasible;
    solution.choice = best_;
    solution.objective = ChoiceScore(problem_, best_);
    solution.totals = ChoiceTotals(problem_, best_);
    return solution;
  }

  const MipProblem& problem_;
  const MipClock& clock_;
  MipCore core_;
  LagrangeBound lagrange_;
  double proven_ = -kInfinity;  // no choice within the limits scores below
  double best_score_ = kInfinity;
  std::vector<int> best_;
  bool finished_ = false;
};

}  // namespace

MipSolution SolveExactly(const MipProblem& problem, const MipHint& hint, const MipClock& clock) {
  return ExactSolver(problem, clock).Solve(hint);
}

}  // namespace puzzle
