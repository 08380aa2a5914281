#include "nodes/label_half.h"

#include <algorithm>
#include <cmath>

namespace puzzle {

LabelHalf::LabelHalf(const MipCore& core, const LagrangeBound& lagrange, const GroupOrder& order,
                     double tolerance, LabelIncumbent& incumbent)
    : core_(core),
      lagrange_(lagrange),
      order_(order),
      tolerance_(tolerance),
      incumbent_(incumbent),
      bounds_(core, lagrange, order) {
  LabelLevel first;
  first.Add(0, std::vector<double>(core.n_rows(), 0), -1, -1);
  levels_.push_back(std::move(first));
}

bool LabelHalf::Expand(size_t max_labels, const MipClock& clock) {
  constexpr size_t kThinAt = 1 << 18;
  const size_t rows = core_.n_rows(), level = levels_.size();
  const LabelLevel& from = levels_.back();
  const std::vector<int>& columns = order_.columns[level - 1];
  size_t thin_at = kThinAt;
  LabelLevel next;
  std::vector<double> totals(rows);
  for (size_t i = 0; i < from.size(); ++i) {
    if ((i & 4095) == 0 && clock.Expired()) return false;
    for (const int c : columns) {
      const double score = from.score[i] + core_.score[c];
      for (size_t r = 0; r < rows; ++r) totals[r] = from.totals[i * rows + r] + core_.costs(c)[r];
      const double limit = incumbent_.threshold + tolerance_;
      // Columns come in order of this bound: the rest would fail as well.
      if (bounds_.PricedBound(level, score, totals.data()) > limit) break;
      if (bounds_.Bound(level, score, totals.data()) > limit) continue;
      next.Add(score, totals, static_cast<int>(i), c);
    }
    if (next.size() < thin_at) continue;
    KeepUndominated(next, rows, Senses(next));
    if (next.size() > max_labels) return false;
    thin_at = std::max(kThinAt, 2 * next.size());
  }
  Thin(next);
  size_ += next.size();
  levels_.push_back(std::move(next));
  if (size_ > max_labels) return false;
  TryCheapestRest(levels_.back());
  return true;
}

void LabelHalf::Thin(LabelLevel& labels) {
  constexpr size_t kCheap = 1024;
  constexpr size_t kRetry = 6;
  if (!thinning_pays_ && labels.size() > kCheap && levels_.size() % kRetry != 0) return;
  const size_t before = labels.size();
  KeepUndominated(labels, core_.n_rows(), Senses(labels));
  thinning_pays_ = labels.size() < before - before / 10;
}

// Which direction of each row can still break a limit.
std::vector<RowSense> LabelHalf::Senses(const LabelLevel& labels) const {
  const size_t rows = core_.n_rows(), level = levels_.size();
  std::vector<RowSense> senses(rows);
  for (size_t r = 0; r < rows; ++r) {
    double least = std::numeric_limits<double>::infinity(), most = -least;
    for (size_t i = 0; i < labels.size(); ++i) {
      least = std::min(least, labels.totals[i * rows + r]);
      most = std::max(most, labels.totals[i * rows + r]);
    }
    senses[r].above = most + bounds_.Most(level, r) > core_.rows[r].high;
    senses[r].below = least + bounds_.Least(level, r) < core_.rows[r].low;
    senses[r].rounding = 1e-15 * (1 + std::abs(most) + bounds_.Most(level, r));
  }
  return senses;
}

// Completes labels with every remaining group's cheapest option: a choice early on lowers the
// threshold for all that follows.
void LabelHalf::TryCheapestRest(const LabelLevel& labels) {
  const size_t rows = core_.n_rows();
  std::vector<double> rest(rows, 0);
  double rest_score = 0;
  for (size_t l = level(); l < order_.groups.size(); ++l) {
    const int c = order_.columns[l].front();
    rest_score += core_.score[c];
    for (size_t r = 0; r < rows; ++r) rest[r] += core_.costs(c)[r];
  }
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels.score[i] + rest_score >= incumbent_.score) continue;
    bool within = true;
    for (size_t r = 0; r < rows && within; ++r) {
      const double total = labels.totals[i * rows + r] + rest[r];
      within = total <= core_.rows[r].high && total >= core_.rows[r].low;
    }
    if (!within) continue;
    std::vector<int> columns(core_.groups());
    for (size_t l = level(); l < order_.groups.size(); ++l) {
      columns[order_.groups[l]] = order_.columns[l].front();
    }
    Fill(i, columns);
    incumbent_.Offer(labels.score[i] + rest_score, std::move(columns));
  }
}

void LabelHalf::Fill(size_t label, std::vector<int>& columns) const {
  for (size_t l = level(); l > 0; --l) {
    columns[order_.groups[l - 1]] = levels_[l].column[label];
    label = static_cast<size_t>(levels_[l].parent[label]);
  }
}

}  // namespace puzzle
