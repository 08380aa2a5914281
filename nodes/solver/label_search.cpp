#include "nodes/solver/label_search.h"

#include <algorithm>
#include <cmath>

#include "nodes/solver/label_half.h"
#include "nodes/solver/label_index.h"
#include "nodes/solver/label_problem.h"
#include "nodes/solver/label_schedule.h"

namespace puzzle {
namespace {

class LabelSearch {
 public:
  LabelSearch(const MipCore& core, const LagrangeBound& lagrange, double threshold,
              size_t max_labels, const MipClock& clock)
      : problem_(MakeLabelProblem(core, lagrange, threshold - lagrange.bound)),
        max_labels_(max_labels),
        clock_(clock),
        cuts_(CutsOf(problem_)),
        left_(problem_, /*from_first=*/true),
        right_(problem_, /*from_first=*/false) {}

  LabelSearchResult Run() {
    LabelSearchResult result;
    result.complete = Meet();
    result.score = incumbent_.score;
    result.columns = std::move(incumbent_.columns);
    result.labels = left_.labels().size() + right_.labels().size();
    return result;
  }

 private:
  // How far from the bound choices are of interest.
  [[nodiscard]] double Distance() const {
    return std::min(problem_.distance, incumbent_.score - problem_.bound) + problem_.tolerance;
  }

  bool Meet() {
    const size_t n = problem_.groups.size();
    const auto first = static_cast<size_t>(
        std::find_if(cuts_.begin(), cuts_.end(), [](double cut) { return cut < kInfinity; }) -
        cuts_.begin());
    std::vector<std::vector<uint32_t>> rest(n + 1);  // right parts behind group p
    rest[n] = right_.current();
    size_t size = 0;
    for (size_t p = n - 1; p >= first && p > 0; --p) {
      if (!right_.Expand(Distance() - cuts_[p], Distance(), max_labels_, clock_)) return false;
      rest[p] = right_.current();
      if ((size += rest[p].size()) > 8 * max_labels_) return false;
    }
    for (size_t p = 1; p <= n; ++p) {
      if (p >= first && !CrossAt(p, rest[p])) return false;
      if (cuts_[p] == -kInfinity) break;
      const double most = std::min(cuts_[p] + problem_.tolerance, Distance());
      if (!left_.Expand(most, Distance(), max_labels_, clock_)) return false;
    }
    return true;
  }

  // Joins left parts before group p, its options, and right parts behind it.
  bool CrossAt(size_t p, const std::vector<uint32_t>& rest) {
    if (rest.empty()) return true;
    constexpr double kReach = 1.5;  // choices a little farther off are taken if met
    const double reach = std::max(
        Distance(), std::min(kReach * problem_.distance, incumbent_.score - problem_.bound));
    const LabelIndex index(right_.labels(), rest, problem_.rows, reach);
    const Labels& labels = left_.labels();
    const LabelGroup& group = problem_.groups[p - 1];
    std::vector<double> totals(labels.rows);
    for (size_t i = 0; i < left_.current().size(); ++i) {
      if ((i & 255) == 0 && clock_.Expired()) return false;
      const uint32_t left = left_.current()[i];
      for (const LabelOption& option : group.options) {
        const double excess = labels.excess[left] + option.excess;
        if (excess > Distance()) break;
        if (excess <= cuts_[p] - problem_.tolerance) continue;  // crosses over later
        for (size_t r = 0; r < totals.size(); ++r) {
          totals[r] = labels.totals_of(left)[r] + option.costs[r];
        }
        const auto [begin, end] = index.Fitting(totals.data(), reach - excess);
        if ((pairs_ += end - begin) > kMaxPairs) return false;
        for (size_t place = begin; place < end; ++place) {
          Try(left, group.group, option, totals, index, place);
        }
      }
    }
    return true;
  }

  void Try(uint32_t left, size_t group, const LabelOption& option,
           const std::vector<double>& totals, const LabelIndex& index, size_t place) {
    const double score =
        problem_.base_score + left_.labels().score[left] + option.score + index.score(place);
    if (score >= incumbent_.score) return;
    for (size_t r = 0; r < totals.size(); ++r) {
      const double total = totals[r] + index.totals(place)[r];
      const double rounding = 1e-15 * (1 + std::abs(total));
      if (total > problem_.rows[r].high + rounding || total < problem_.rows[r].low - rounding) {
        return;
      }
    }
    incumbent_.score = score;
    incumbent_.columns.resize(problem_.groups.size());
    for (const LabelGroup& each : problem_.groups) {
      incumbent_.columns[each.group] = each.options.front().column;
    }
    left_.Fill(left, incumbent_.columns);
    right_.Fill(index.id(place), incumbent_.columns);
    incumbent_.columns[group] = option.column;
  }

  static constexpr size_t kMaxPairs = 1'000'000'000;

  LabelProblem problem_;
  size_t max_labels_;
  const MipClock& clock_;
  std::vector<double> cuts_;
  LabelHalf left_, right_;
  LabelIncumbent incumbent_;
  size_t pairs_ = 0;
};

}  // namespace

LabelSearchResult SearchLabels(const MipCore& core, const LagrangeBound& lagrange, double threshold,
                               size_t max_labels, const MipClock& clock) {
  return LabelSearch(core, lagrange, threshold, max_labels, clock).Run();
}

}  // namespace puzzle
