// The label search: partial choices ("labels") grow from both ends of an order of the groups, those
// that another one beats or whose bound is not good enough are dropped, and where a choice's
// distance from the bound is shared out between its ends (`label_schedule`) matching pairs are
// looked up. Thread-safe.
#pragma once

#include <vector>

#include "nodes/solver/lagrange.h"
#include "nodes/solver/mip_clock.h"
#include "nodes/solver/mip_core.h"

namespace puzzle {

struct LabelSearchResult {
  bool complete = false;     // every choice of interest was considered
  double score = 0;          // of `columns`, in the core's units
  std::vector<int> columns;  // per group: the best choice found; empty when there was none
  size_t labels = 0;         // the effort
};

/// The best choice within the limits among those that score at most `threshold`; without one, a
/// choice a little above it if one was met. Stops incomplete when it would need more than
/// `max_labels` or `clock` ends it; whatever it found by then is returned. REQUIRES: core.feasible.
[[nodiscard]] LabelSearchResult SearchLabels(const MipCore& core, const LagrangeBound& lagrange,
                                             double threshold, size_t max_labels,
                                             const MipClock& clock);

}  // namespace puzzle
