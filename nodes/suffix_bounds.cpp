#include "nodes/suffix_bounds.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace puzzle {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Point {
  double x = 0;
  double y = 0;
};

double Slope(const Point& a, const Point& b) {
  return (b.y - a.y) / (b.x - a.x);
}

// Lower convex hull, left to right.
std::vector<Point> LowerHull(std::vector<Point> points) {
  std::sort(points.begin(), points.end(),
            [](const Point& a, const Point& b) { return a.x != b.x ? a.x < b.x : a.y < b.y; });
  std::vector<Point> hull;
  for (const Point& point : points) {
    if (!hull.empty() && hull.back().x == point.x) continue;
    while (hull.size() >= 2 &&
           Slope(hull[hull.size() - 2], hull.back()) >= Slope(hull.back(), point)) {
      hull.pop_back();
    }
    hull.push_back(point);
  }
  return hull;
}

}  // namespace

double SuffixBounds::Envelope::At(double at) const {
  const auto above = std::lower_bound(x.begin(), x.end(), at);
  if (above == x.begin()) return y.front();
  if (above == x.end()) return y.back();
  const size_t i = static_cast<size_t>(above - x.begin());
  const double part = (at - x[i - 1]) / (x[i] - x[i - 1]);
  return y[i - 1] + part * (y[i] - y[i - 1]);
}

double SuffixBounds::Envelope::LeastWithin(double low, double high) const {
  const double rounding = 1e-15 * (std::abs(x.back()) + 1) * 8;
  if (high < x.front() - rounding || low > x.back() + rounding) return kInfinity;
  if (high < x[lowest]) return At(high + rounding);
  if (low > x[lowest]) return At(low - rounding);
  return y[lowest];
}

SuffixBounds::SuffixBounds(const MipCore& core, const LagrangeBound& lagrange,
                           const GroupOrder& order)
    : core_(core), rows_(core.n_rows()), prices_(lagrange.prices) {
  for (size_t r = 0; r < rows_; ++r) {
    const MipCore::Row& row = core.rows[r];
    refunds_.push_back(prices_[r] > 0   ? prices_[r] * row.high
                       : prices_[r] < 0 ? prices_[r] * row.low
                                        : 0);
    refund_ += refunds_.back();
  }
  const size_t levels = order.groups.size();
  envelopes_.resize((levels + 1) * rows_, {{0}, {0}, 0});
  cheapest_.assign(levels + 1, 0);
  for (size_t level = levels; level-- > 0;) {
    double cheapest = kInfinity;
    for (int c : order.columns[level]) {
      double value = core.score[c];
      for (size_t r = 0; r < rows_; ++r) value += prices_[r] * core.costs(c)[r];
      cheapest = std::min(cheapest, value);
    }
    cheapest_[level] = cheapest_[level + 1] + cheapest;
    for (size_t r = 0; r < rows_; ++r) {
      envelopes_[level * rows_ + r] =
          Extend(envelopes_[(level + 1) * rows_ + r], order.columns[level], r);
    }
  }
}

// The envelope of a sum is the merge of the envelopes' segments by slope.
SuffixBounds::Envelope SuffixBounds::Extend(const Envelope& rest, const std::vector<int>& columns,
                                            size_t row) const {
  std::vector<Point> points;
  for (int c : columns) {
    Point point{core_.costs(c)[row], core_.score[c]};
    for (size_t r = 0; r < rows_; ++r) {
      if (r != row) point.y += prices_[r] * core_.costs(c)[r];
    }
    points.push_back(point);
  }
  const std::vector<Point> hull = LowerHull(std::move(points));
  Envelope sum;
  sum.x.reserve(rest.x.size() + hull.size() - 1);
  sum.y.reserve(rest.x.size() + hull.size() - 1);
  Point at{rest.x.front() + hull.front().x, rest.y.front() + hull.front().y};
  sum.x.push_back(at.x);
  sum.y.push_back(at.y);
  size_t i = 1, j = 1;
  while (i < rest.x.size() || j < hull.size()) {
    const double left =
        i < rest.x.size() ? (rest.y[i] - rest.y[i - 1]) / (rest.x[i] - rest.x[i - 1]) : kInfinity;
    const double right = j < hull.size() ? Slope(hull[j - 1], hull[j]) : kInfinity;
    if (left <= right) {
      at = {at.x + rest.x[i] - rest.x[i - 1], at.y + rest.y[i] - rest.y[i - 1]};
      ++i;
    } else {
      at = {at.x + hull[j].x - hull[j - 1].x, at.y + hull[j].y - hull[j - 1].y};
      ++j;
    }
    if (at.x <= sum.x.back()) continue;  // a segment lost in rounding
    sum.x.push_back(at.x);
    sum.y.push_back(at.y);
  }
  sum.lowest = static_cast<size_t>(std::min_element(sum.y.begin(), sum.y.end()) - sum.y.begin());
  return sum;
}

// Scores and totals of the prefix are known; the rest is bounded once with all rows priced, and
// once per row with that row exact and the others priced. The largest of these lower bounds counts.
double SuffixBounds::Bound(size_t level, double score, const double* totals) const {
  double bound = PricedBound(level, score, totals);
  const double priced = bound - cheapest_[level] + refund_;
  for (size_t r = 0; r < rows_; ++r) {
    const MipCore::Row& row = core_.rows[r];
    const double rest =
        envelopes_[level * rows_ + r].LeastWithin(row.low - totals[r], row.high - totals[r]);
    bound = std::max(bound, priced - prices_[r] * totals[r] + rest - (refund_ - refunds_[r]));
  }
  return bound;
}

}  // namespace puzzle
