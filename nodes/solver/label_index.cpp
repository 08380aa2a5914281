#include "nodes/solver/label_index.h"

#include <algorithm>
#include <cmath>

namespace puzzle {
namespace {}  // namespace

LabelIndex::LabelIndex(const Labels& labels, const std::vector<uint32_t>& ids,
                       const std::vector<LabelRow>& rows, double reach)
    : rows_(rows) {
  ChooseRow(labels, ids, reach);
  Sort(labels, ids);
}

LabelIndex::Window LabelIndex::WindowOf(size_t row, double total, double room) const {
  const LabelRow& limits = rows_[row];
  Window window{limits.low - total, limits.high - total};
  if (limits.price > 0) window.low = std::max(window.low, window.high - room / limits.price);
  if (limits.price < 0) window.high = std::min(window.high, window.low - room / limits.price);
  const double rounding = 1e-14 * (1 + std::abs(total));
  return {window.low - rounding, window.high + rounding};
}

// The row whose window leaves the smallest part of the labels.
void LabelIndex::ChooseRow(const Labels& labels, const std::vector<uint32_t>& ids, double reach) {
  double smallest = kInfinity;
  for (size_t r = 0; r < rows_.size(); ++r) {
    double least = kInfinity, most = -kInfinity;
    for (const uint32_t id : ids) {
      least = std::min(least, labels.totals_of(id)[r]);
      most = std::max(most, labels.totals_of(id)[r]);
    }
    const Window window = WindowOf(r, 0, reach);
    const double part = most > least ? (window.high - window.low) / (most - least) : kInfinity;
    if (part >= smallest) continue;
    smallest = part;
    row_ = r;
    least_ = least;
    most_ = most;
  }
}

// Rises with the total, so that rounding moves no label out of a window.
size_t LabelIndex::BucketOf(double total) const {
  const size_t last = first_.size() - 2;
  const double part = (total - least_) / (most_ - least_) * static_cast<double>(last + 1);
  return part <= 0 ? 0 : std::min(last, static_cast<size_t>(part));
}

// Counting sort: a bucket holds one label on average.
void LabelIndex::Sort(const Labels& labels, const std::vector<uint32_t>& ids) {
  const size_t n = ids.size(), width = rows_.size();
  ids_ = ids;
  if (row_) {
    first_.assign(n + 1, 0);
    std::vector<uint32_t> bucket(n);
    for (size_t i = 0; i < n; ++i) {
      bucket[i] = static_cast<uint32_t>(BucketOf(labels.totals_of(ids[i])[*row_]));
      ++first_[bucket[i] + 1];
    }
    for (size_t b = 1; b <= n; ++b) first_[b] += first_[b - 1];
    std::vector<size_t> next(first_.begin(), first_.end() - 1);
    for (size_t i = 0; i < n; ++i) ids_[next[bucket[i]]++] = ids[i];
  }
  scores_.resize(n);
  totals_.resize(n * width);
  for (size_t place = 0; place < n; ++place) {
    scores_[place] = labels.score[ids_[place]];
    std::copy_n(labels.totals_of(ids_[place]), width, totals_.data() + place * width);
  }
}

std::pair<size_t, size_t> LabelIndex::Fitting(const double* totals, double room) const {
  if (!row_) return {0, ids_.size()};
  const Window window = WindowOf(*row_, totals[*row_], room);
  if (window.high < least_ || window.low > most_ || window.high < window.low) return {0, 0};
  return {first_[BucketOf(window.low)], first_[BucketOf(window.high) + 1]};
}

}  // namespace puzzle
