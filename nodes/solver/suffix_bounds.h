// What the groups behind some point of an order can still reach, and what that costs at least: the
// bounds behind the label search. Immutable once made, hence shared by threads.
#pragma once

#include <cstddef>
#include <vector>

#include "nodes/solver/label_problem.h"

namespace puzzle {

class SuffixBounds {
 public:
  /// For labels that decide the problem's groups from the first on, or from the last.
  SuffixBounds(const LabelProblem& problem, bool from_first);

  /// How far from the bound every choice within the limits is at least that begins with `level`
  /// groups of this excess and these totals; infinity when there is none.
  [[nodiscard]] double Bound(size_t level, double excess, const double* totals) const;

  /// Least and most of a row that the groups behind the first `level` ones add.
  [[nodiscard]] double Least(size_t level, size_t row) const {
    return envelopes_[level * rows_.size() + row].x.front();
  }
  [[nodiscard]] double Most(size_t level, size_t row) const {
    return envelopes_[level * rows_.size() + row].x.back();
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

  [[nodiscard]] static Envelope Extend(const Envelope& rest, const LabelGroup& group, size_t row,
                                       double price);

  std::vector<LabelRow> rows_;
  std::vector<Envelope> envelopes_;  // [level][row], one level more than groups
};

}  // namespace puzzle
