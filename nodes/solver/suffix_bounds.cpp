#include "nodes/solver/suffix_bounds.h"

#include <algorithm>
#include <cmath>

namespace puzzle {
namespace {

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

SuffixBounds::SuffixBounds(const LabelProblem& problem, bool from_first) : rows_(problem.rows) {
  const size_t levels = problem.groups.size();
  envelopes_.resize((levels + 1) * rows_.size(), {{0}, {0}, 0});
  for (size_t level = levels; level-- > 0;) {
    const LabelGroup& group = problem.groups[from_first ? level : levels - 1 - level];
    for (size_t r = 0; r < rows_.size(); ++r) {
      envelopes_[level * rows_.size() + r] =
          Extend(envelopes_[(level + 1) * rows_.size() + r], group, r, rows_[r].price);
    }
  }
}

// The envelope of a sum is the merge of the envelopes' segments by slope.
SuffixBounds::Envelope SuffixBounds::Extend(const Envelope& rest, const LabelGroup& group,
                                            size_t row, double price) {
  std::vector<Point> points;
  for (const LabelOption& option : group.options) {
    points.push_back({option.costs[row], option.excess - price * option.costs[row]});
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

// Beside the excess itself, which has all rows priced, one bound per row: that row exact and the
// others priced. The largest counts.
double SuffixBounds::Bound(size_t level, double excess, const double* totals) const {
  double bound = excess;
  for (size_t r = 0; r < rows_.size(); ++r) {
    const LabelRow& row = rows_[r];
    const double rest =
        envelopes_[level * rows_.size() + r].LeastWithin(row.low - totals[r], row.high - totals[r]);
    bound = std::max(bound, excess + row.Slack(totals[r]) + rest);
  }
  return bound;
}

}  // namespace puzzle
