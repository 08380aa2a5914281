#include "nodes/solver/depth_first.h"

#include <algorithm>

#include "nodes/solver/label_problem.h"
#include "nodes/solver/suffix_bounds.h"

namespace puzzle {
namespace {

class DepthFirstSearch {
 public:
  DepthFirstSearch(const MipCore& core, const LagrangeBound& lagrange, double threshold,
                   size_t max_nodes, const std::function<bool(const std::vector<int>&)>& accepts,
                   const MipClock& clock)
      : problem_(MakeLabelProblem(core, lagrange, threshold - lagrange.bound)),
        bounds_(problem_, /*from_first=*/true),
        max_nodes_(max_nodes),
        accepts_(accepts),
        clock_(clock),
        rows_(problem_.rows.size()),
        totals_((problem_.groups.size() + 1) * rows_, 0),
        columns_(problem_.groups.size()) {
    result_.score = threshold;
  }

  DepthFirstResult Run() {
    result_.complete = Descend(0, 0, problem_.base_score);
    return std::move(result_);
  }

 private:
  // Tries everything behind the first `level` groups; false when it had to stop.
  bool Descend(size_t level, double excess, double score) {
    if (++nodes_ > max_nodes_ || ((nodes_ & 1023) == 0 && clock_.Expired())) return false;
    if (level == problem_.groups.size()) {
      if (score < result_.score && accepts_(columns_)) {
        result_.score = score;
        result_.columns = columns_;
      }
      return true;
    }
    const LabelGroup& group = problem_.groups[level];
    const double* const here = totals_.data() + level * rows_;
    double* const next = totals_.data() + (level + 1) * rows_;
    for (const LabelOption& option : group.options) {
      for (size_t r = 0; r < rows_; ++r) next[r] = here[r] + option.costs[r];
      const double reached = excess + option.excess;
      const double distance = result_.score - problem_.bound + problem_.tolerance;
      if (reached > distance) break;  // those behind it exceed by more
      if (bounds_.Bound(level + 1, reached, next) > distance) continue;
      columns_[group.group] = option.column;
      if (!Descend(level + 1, reached, score + option.score)) return false;
    }
    return true;
  }

  const LabelProblem problem_;
  const SuffixBounds bounds_;
  const size_t max_nodes_;
  const std::function<bool(const std::vector<int>&)>& accepts_;
  const MipClock& clock_;
  const size_t rows_;
  std::vector<double> totals_;  // [level][row], relative to the base choice
  std::vector<int> columns_;
  size_t nodes_ = 0;
  DepthFirstResult result_;
};

}  // namespace

DepthFirstResult SearchDepthFirst(const MipCore& core, const LagrangeBound& lagrange,
                                  double threshold, size_t max_nodes,
                                  const std::function<bool(const std::vector<int>&)>& accepts,
                                  const MipClock& clock) {
  // In the core's units no choice scores above its number of groups.
  const double most = static_cast<double>(core.groups()) + 1;
  return DepthFirstSearch(core, lagrange, std::min(threshold, most), max_nodes, accepts, clock)
      .Run();
}

}  // namespace puzzle
