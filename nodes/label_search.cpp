#include "nodes/label_search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

#include "nodes/label_half.h"

namespace puzzle {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Bounds are sums of rounded terms, a price times a cost for every group and row; choices this
// close to the threshold stay.
double RoundingOf(const MipCore& core, const std::vector<double>& prices) {
  double terms = 1;
  for (const double price : prices) terms += std::abs(price);
  return 1e-14 * terms * static_cast<double>(core.groups() + 1);
}

// Per group the columns whose priced scores leave room below the threshold, cheapest first, and
// what the second cheapest costs beyond the first.
struct Alive {
  std::vector<int> columns;
  double step = kInfinity;
};

Alive AliveColumns(const MipCore& core, const LagrangeBound& lagrange, size_t group,
                   double threshold) {
  std::vector<std::pair<double, int>> priced;
  for (int c = core.first[group]; c < core.first[group + 1]; ++c) {
    double value = core.score[c];
    for (size_t r = 0; r < core.n_rows(); ++r) value += lagrange.prices[r] * core.costs(c)[r];
    priced.push_back({value, c});
  }
  std::sort(priced.begin(), priced.end());
  Alive alive;
  for (const auto& [value, column] : priced) {
    if (lagrange.bound + value - priced[0].first > threshold) break;
    alive.columns.push_back(column);
  }
  if (alive.columns.size() > 1) alive.step = priced[1].first - priced[0].first;
  return alive;
}

// Groups where deviating is dear stand at the ends: they branch little, and the many small steps of
// the others keep the bounds sharp until the halves meet.
GroupOrder OrderOf(const MipCore& core, const LagrangeBound& lagrange, double threshold) {
  std::vector<Alive> alive;
  for (size_t g = 0; g < core.groups(); ++g) {
    alive.push_back(AliveColumns(core, lagrange, g, threshold));
  }
  std::vector<size_t> dearest(core.groups());
  std::iota(dearest.begin(), dearest.end(), 0);
  std::stable_sort(dearest.begin(), dearest.end(),
                   [&](size_t a, size_t b) { return alive[a].step > alive[b].step; });
  GroupOrder order;
  order.groups.resize(core.groups());
  for (size_t i = 0; i < dearest.size(); ++i) {
    const size_t at = i % 2 == 0 ? i / 2 : dearest.size() - 1 - i / 2;
    order.groups[at] = dearest[i];
  }
  for (const size_t g : order.groups) order.columns.push_back(std::move(alive[g].columns));
  return order;
}

GroupOrder Reversed(GroupOrder order) {
  std::reverse(order.groups.begin(), order.groups.end());
  std::reverse(order.columns.begin(), order.columns.end());
  return order;
}

// Labels of one half with their priced scores, sorted for the join.
class SortedLabels {
 public:
  SortedLabels(const MipCore& core, const LagrangeBound& lagrange, const LabelLevel& labels)
      : labels_(labels), rows_(core.n_rows()) {
    for (size_t i = 0; i < labels.size(); ++i) {
      double value = labels.score[i];
      for (size_t r = 0; r < rows_; ++r) value += lagrange.prices[r] * totals(i)[r];
      priced_.push_back(value);
    }
    order_.resize(labels.size());
    std::iota(order_.begin(), order_.end(), 0);
  }

  void SortByPrice() {
    std::sort(order_.begin(), order_.end(),
              [&](size_t a, size_t b) { return priced_[a] < priced_[b]; });
  }
  void SortByRow(size_t row) {
    std::sort(order_.begin(), order_.end(),
              [&](size_t a, size_t b) { return totals(a)[row] < totals(b)[row]; });
  }

  [[nodiscard]] size_t size() const { return order_.size(); }
  [[nodiscard]] size_t at(size_t place) const { return order_[place]; }
  [[nodiscard]] double score(size_t label) const { return labels_.score[label]; }
  [[nodiscard]] double priced(size_t label) const { return priced_[label]; }
  [[nodiscard]] const double* totals(size_t label) const {
    return labels_.totals.data() + label * rows_;
  }
  [[nodiscard]] double least_priced() const {
    return *std::min_element(priced_.begin(), priced_.end());
  }
  [[nodiscard]] double Spread(size_t row) const {
    double least = kInfinity, most = -kInfinity;
    for (const size_t i : order_) {
      least = std::min(least, totals(i)[row]);
      most = std::max(most, totals(i)[row]);
    }
    return most - least;
  }
  // First place whose total in `row` is at least `value`. REQUIRES: SortByRow(row).
  [[nodiscard]] size_t LowerBound(size_t row, double value) const {
    const auto it =
        std::lower_bound(order_.begin(), order_.end(), value,
                         [&](size_t label, double v) { return totals(label)[row] < v; });
    return static_cast<size_t>(it - order_.begin());
  }

 private:
  const LabelLevel& labels_;
  size_t rows_;
  std::vector<double> priced_;
  std::vector<size_t> order_;
};

// Finds the best pair. A pair scores `priced(a) + priced(b) - refund + price * slack`, so that room
// below the threshold translates into the slack that a row can have at most: a narrow window.
class Join {
 public:
  Join(const MipCore& core, const LagrangeBound& lagrange, const LabelHalf& left,
       const LabelHalf& right, double tolerance, LabelIncumbent& incumbent)
      : core_(core),
        prices_(lagrange.prices),
        left_(left),
        right_(right),
        tolerance_(tolerance),
        incumbent_(incumbent),
        a_(core, lagrange, left.labels()),
        b_(core, lagrange, right.labels()) {
    for (size_t r = 0; r < core.n_rows(); ++r) {
      if (prices_[r] > 0) refund_ += prices_[r] * core.rows[r].high;
      if (prices_[r] < 0) refund_ += prices_[r] * core.rows[r].low;
    }
  }

  // False when `clock` ended it, or when no row narrows the pairs down to a number worth trying.
  bool Run(const MipClock& clock) {
    constexpr size_t kMaxPairs = 1'000'000'000;
    size_t pairs = 0;
    if (a_.size() == 0 || b_.size() == 0) return true;
    a_.SortByPrice();
    const double least_b = b_.least_priced();
    const std::optional<size_t> row = SharpestRow();
    if (row) b_.SortByRow(*row);
    for (size_t i = 0; i < a_.size(); ++i) {
      if ((i & 255) == 0 && clock.Expired()) return false;
      const size_t a = a_.at(i);
      const double room = incumbent_.threshold + tolerance_ - (a_.priced(a) + least_b - refund_);
      if (room < 0) break;
      size_t begin = 0, end = b_.size();
      if (row) {
        const Window window = WindowOf(*row, a_.totals(a)[*row], room);
        begin = b_.LowerBound(*row, window.low);
        end = b_.LowerBound(*row, window.high);
        while (end < b_.size() && b_.totals(b_.at(end))[*row] <= window.high) ++end;
      }
      pairs += end - begin;
      if (pairs > kMaxPairs) return false;
      for (size_t j = begin; j < end; ++j) Try(a, b_.at(j));
    }
    return true;
  }

 private:
  struct Window {
    double low = -kInfinity;
    double high = kInfinity;
  };

  // What the other half may add to a row.
  [[nodiscard]] Window WindowOf(size_t row, double total, double room) const {
    const double low = core_.rows[row].low, high = core_.rows[row].high, price = prices_[row];
    Window window{low - total, high - total};
    if (price > 0) window.low = std::max(window.low, high - total - room / price);
    if (price < 0) window.high = std::min(window.high, low - total + room / -price);
    const double rounding = 1e-14 * static_cast<double>(core_.groups());
    return {window.low - rounding, window.high + rounding};
  }

  // The row whose windows leave the smallest part of the other half.
  [[nodiscard]] std::optional<size_t> SharpestRow() const {
    std::optional<size_t> sharpest;
    double least = 1;
    const double room =
        incumbent_.threshold + tolerance_ - (a_.priced(a_.at(0)) + b_.least_priced() - refund_);
    for (size_t r = 0; r < core_.n_rows(); ++r) {
      const Window window = WindowOf(r, 0, std::max(0.0, room));
      const double spread = b_.Spread(r);
      const double part = spread > 0 ? (window.high - window.low) / spread : kInfinity;
      if (part < least) {
        least = part;
        sharpest = r;
      }
    }
    return sharpest;
  }

  void Try(size_t a, size_t b) {
    const double score = a_.score(a) + b_.score(b);
    if (score >= incumbent_.score || score > incumbent_.threshold + tolerance_) return;
    for (size_t r = 0; r < core_.n_rows(); ++r) {
      const double total = a_.totals(a)[r] + b_.totals(b)[r];
      const double rounding = 1e-15 * (1 + std::abs(total));
      if (total > core_.rows[r].high + rounding || total < core_.rows[r].low - rounding) return;
    }
    std::vector<int> columns(core_.groups());
    left_.Fill(a, columns);
    right_.Fill(b, columns);
    incumbent_.Offer(score, std::move(columns));
  }

  const MipCore& core_;
  const std::vector<double>& prices_;
  const LabelHalf& left_;
  const LabelHalf& right_;
  double tolerance_;
  LabelIncumbent& incumbent_;
  SortedLabels a_, b_;
  double refund_ = 0;
};

}  // namespace

LabelSearchResult SearchLabels(const MipCore& core, const LagrangeBound& lagrange, double threshold,
                               size_t max_labels, const MipClock& clock) {
  const double tolerance = RoundingOf(core, lagrange.prices);
  const GroupOrder forward = OrderOf(core, lagrange, threshold + tolerance);
  const GroupOrder backward = Reversed(forward);
  LabelIncumbent incumbent{threshold, kInfinity, {}};
  LabelHalf left(core, lagrange, forward, tolerance, incumbent);
  LabelHalf right(core, lagrange, backward, tolerance, incumbent);
  bool complete = true;
  while (complete && left.level() + right.level() < core.groups()) {
    LabelHalf& smaller = left.labels().size() <= right.labels().size() ? left : right;
    complete = smaller.Expand(max_labels, clock);
  }
  if (complete) {
    complete = Join(core, lagrange, left, right, tolerance, incumbent).Run(clock);
  }
  return {complete, incumbent.score, std::move(incumbent.columns), left.size() + right.size()};
}

}  // namespace puzzle
