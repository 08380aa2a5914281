#include "nodes/solver/label_half.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace puzzle {

LabelHalf::LabelHalf(const LabelProblem& problem, bool from_first)
    : problem_(problem), from_first_(from_first), bounds_(problem, from_first) {
  labels_.rows = problem.rows.size();
  labels_.Resize(1);  // the base choice
  labels_.parent[0] = -1;
  current_ = {0};
}

const LabelGroup& LabelHalf::Next() const {
  return problem_.groups[from_first_ ? level_ : problem_.groups.size() - 1 - level_];
}

bool LabelHalf::Expand(double most, double distance, size_t max_labels, const MipClock& clock) {
  constexpr size_t kThinAt = 1 << 18;
  const LabelGroup& group = Next();
  ++level_;
  std::vector<uint32_t> from = std::move(current_);
  std::erase_if(from, [&](uint32_t id) { return labels_.excess[id] > most; });
  current_.clear();
  for (const uint32_t id : from) {  // the cheapest option changes nothing
    if (bounds_.Bound(level_, labels_.excess[id], labels_.totals_of(id)) <= distance) {
      current_.push_back(id);
    }
  }
  const size_t first_new = labels_.size();
  size_t thin_at = first_new + kThinAt;
  std::vector<uint32_t> made;
  const auto collect = [&] {
    made.resize(labels_.size() - first_new);
    std::iota(made.begin(), made.end(), static_cast<uint32_t>(first_new));
  };
  for (size_t o = 1; o < group.options.size(); ++o) {
    if (!Extend(from, group.group, group.options[o], most, distance, clock)) return false;
    if (labels_.size() < thin_at) continue;
    collect();
    Thin(made, first_new);
    if (labels_.size() > max_labels) return false;
    thin_at = std::max(first_new + kThinAt, 2 * labels_.size() - first_new);
  }
  collect();
  current_.insert(current_.end(), made.begin(), made.end());
  ThinWherePays(first_new);
  return labels_.size() <= max_labels;
}

bool LabelHalf::Extend(const std::vector<uint32_t>& from, size_t group, const LabelOption& option,
                       double most, double distance, const MipClock& clock) {
  const size_t rows = labels_.rows;
  std::vector<double> totals(rows);
  for (size_t i = 0; i < from.size(); ++i) {
    if ((i & 4095) == 0 && clock.Expired()) return false;
    const uint32_t id = from[i];
    const double excess = labels_.excess[id] + option.excess;
    if (excess > most) continue;
    for (size_t r = 0; r < rows; ++r) totals[r] = labels_.totals_of(id)[r] + option.costs[r];
    if (bounds_.Bound(level_, excess, totals.data()) > distance) continue;
    labels_.excess.push_back(excess);
    labels_.score.push_back(labels_.score[id] + option.score);
    labels_.totals.insert(labels_.totals.end(), totals.begin(), totals.end());
    labels_.parent.push_back(static_cast<int32_t>(id));
    labels_.group.push_back(static_cast<int32_t>(group));
    labels_.column.push_back(option.column);
  }
  return true;
}

// Thinning has to sort.
void LabelHalf::ThinWherePays(size_t first_new) {
  constexpr size_t kCheap = 256;
  const size_t before = current_.size();
  if (before > kCheap && level_ < thin_from_) return;
  Thin(current_, first_new);
  if (before <= kCheap) return;
  thin_pause_ = current_.size() < before - before / 10 ? 1 : 2 * thin_pause_;
  thin_from_ = level_ + thin_pause_;
}

void LabelHalf::Thin(std::vector<uint32_t>& ids, size_t first_new) {
  KeepUndominated(labels_, Senses(ids), ids);
  std::sort(ids.begin(), ids.end());
  size_t end = first_new;
  for (uint32_t& id : ids) {
    if (id < first_new) continue;
    labels_.Move(id, end);
    id = static_cast<uint32_t>(end++);
  }
  labels_.Resize(end);
}

// Which direction of each row can still break a limit. A direction with a price counts always:
// what beats a label then has no more excess either, so that it is not cut off earlier.
std::vector<RowSense> LabelHalf::Senses(const std::vector<uint32_t>& ids) const {
  std::vector<RowSense> senses(labels_.rows);
  for (size_t r = 0; r < labels_.rows; ++r) {
    const LabelRow& row = problem_.rows[r];
    double least = std::numeric_limits<double>::infinity(), most = -least;
    for (const uint32_t id : ids) {
      least = std::min(least, labels_.totals_of(id)[r]);
      most = std::max(most, labels_.totals_of(id)[r]);
    }
    const double rest_least = bounds_.Least(level_, r), rest_most = bounds_.Most(level_, r);
    senses[r].above = row.price > 0 || most + rest_most > row.high;
    senses[r].below = row.price < 0 || least + rest_least < row.low;
    senses[r].rounding = 1e-15 * (1 + std::max(std::abs(least), std::abs(most)) +
                                  std::max(std::abs(rest_least), std::abs(rest_most)));
  }
  return senses;
}

void LabelHalf::Fill(size_t label, std::vector<int>& columns) const {
  for (; labels_.parent[label] >= 0; label = static_cast<size_t>(labels_.parent[label])) {
    columns[static_cast<size_t>(labels_.group[label])] = labels_.column[label];
  }
}

}  // namespace puzzle
