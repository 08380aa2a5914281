// What the groups behind some point of a fixed order can still reach, and what that costs at least:
// the bounds behind the label search. Immutable once made, hence shared by threads.
#pragma once

#include <cstddef>
#include <vector>

#include "nodes/lagrange.h"
#include "nodes/mip_core.h"

namespace puzzle {

/// Groups in the order in which they are decided, each with the columns still in play.
struct GroupOrder {
  std::vector<size_t> groups;
  std::vector<std::vector<int>> columns;  // parallel to `groups`
};

class SuffixBounds {
 public:
  SuffixBounds(const MipCore& core, const LagrangeBound& lagrange, const GroupOrder& order);

  /// The same as Bound with all rows priced: weaker, but quick.
  [[nodiscard]] double PricedBound(size_t level, double score, const double* totals) const {
    double priced = score;
    for (size_t r = 0; r < rows_; ++r) priced += prices_[r] * totals[r];
    return priced + cheapest_[level] - refund_;
  }
  /// Lower bound on the score of every choice within the limits that begins with groups [0, level)
  /// of the order summing up to `score` and `totals`; infinity when there is none.
  [[nodiscard]] double Bound(size_t level, double score, const double* totals) const;

  /// Least and most of a row that groups [level, end) add.
  [[nodiscard]] double Least(size_t level, size_t row) const {
    return envelopes_[level * rows_ + row].x.front();
  }
  [[nodiscard]] double Most(size_t level, size_t row) const {
    return envelopes_[level * rows_ + row].x.back();
  }

 private:
  // Lower convex envelope: with the row's total at x, the other rows priced, the groups of the
  // suffix score at least y, linear in between.
  struct Envelope {
    std::vector<double> x, y;
    size_t lowest = 0;  // where y is least

    [[nodiscard]] double At(double at) const;
    // Least y for x in [low, high]; infinity when the suffix cannot land there.
    [[nodiscard]] double LeastWithin(double low, double high) const;
  };

  [[nodiscard]] Envelope Extend(const Envelope& rest, const std::vector<int>& columns,
                                size_t row) const;

  const MipCore& core_;
  size_t rows_;
  std::vector<double> prices_;
  std::vector<double> refunds_;      // per row
  double refund_ = 0;                // of all rows
  std::vector<Envelope> envelopes_;  // [level][row], one level more than groups
  std::vector<double> cheapest_;     // per level: least priced score of the suffix
};

}  // namespace puzzle
