// What the label search looks at: the choices within some distance of the Lagrangian bound, told
// relative to the base choice, which takes every group's cheapest option at the prices. Values;
// thread-safe.
#pragma once

#include <cstddef>
#include <limits>
#include <vector>

#include "nodes/solver/lagrange.h"
#include "nodes/solver/mip_core.h"

namespace puzzle {

/// An option that a choice of interest may hold, compared with its group's cheapest.
struct LabelOption {
  int column = 0;
  double excess = 0;  // priced score: score + price * cost; never negative
  double score = 0;
  std::vector<double> costs;  // per row
};

struct LabelGroup {
  size_t group = 0;
  std::vector<LabelOption> options;  // by rising excess; the first is the cheapest itself
};

/// Limits on what a choice adds to the base choice's totals.
struct LabelRow {
  double low = 0;
  double high = 0;
  double price = 0;

  /// What the price charges for room that a total leaves.
  [[nodiscard]] double Slack(double total) const {
    return price > 0 ? price * (high - total) : price < 0 ? price * (low - total) : 0;
  }
};

/// A choice whose options exceed the cheapest by `excess` in all and whose totals are `t` scores
/// bound + excess + sum over rows of Slack(t), so options' excess alone tells how far from the
/// bound it is at least.
struct LabelProblem {
  std::vector<LabelGroup> groups;  // in the order in which they are decided
  std::vector<LabelRow> rows;
  double base_score = 0;  // of the base choice
  double bound = 0;
  double distance = 0;   // choices of interest score at most bound + distance
  double tolerance = 0;  // by how much sums may be off
};

/// Groups where deviating from the cheapest option is dear stand at the ends: they branch little,
/// and the many small steps of the others keep the bounds on the rest sharp. REQUIRES:
/// core.feasible.
[[nodiscard]] LabelProblem MakeLabelProblem(const MipCore& core, const LagrangeBound& lagrange,
                                            double distance);

/// The best choice so far, in the core's units.
struct LabelIncumbent {
  double score = std::numeric_limits<double>::infinity();
  std::vector<int> columns;  // per group; empty: none yet
};

}  // namespace puzzle
