// The graph of a run as a picture, one box per node. Thread-safe (a function of its arguments).
#pragma once

#include <string>

#include "graph/plan/plan.h"
#include "graph/run/report.h"

namespace puzzle {

/// One SVG element: a box per node with its kind and what became of its steps, nodes below those
/// they read from.
[[nodiscard]] std::string GraphSvg(const Plan& plan, const Report& report);

}  // namespace puzzle
