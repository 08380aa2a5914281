// A run as a trace in the format of Chrome's about:tracing, which https://ui.perfetto.dev opens.
// Thread-safe (a function of its arguments).
#pragma once

#include <string>

#include "graph/plan/plan.h"
#include "graph/view/timeline.h"

namespace puzzle {

/// JSON: one track per row of the timeline, one slice per span with its node, kind, outcome and
/// reason, found results as slices of a microsecond in a track of their own, and an arrow along
/// every edge that ends in a step that ran.
[[nodiscard]] std::string TraceJson(const Plan& plan, const Timeline& timeline);

}  // namespace puzzle
