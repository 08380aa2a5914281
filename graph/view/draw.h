// A plan as text: drawings of the graph and the listing of `puzzle plan`. Thread-safe.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "graph/plan/explain.h"
#include "graph/plan/plan.h"
#include "graph/plan/stale.h"
#include "graph/plan/workload.h"

namespace puzzle {

/// Graphviz text. One box per node, or per step when `steps`.
[[nodiscard]] std::string DrawDot(const Plan& plan, bool steps);
/// Mermaid text, likewise.
[[nodiscard]] std::string DrawMermaid(const Plan& plan, bool steps);

/// HIT, RUN or WAIT with reasons and an estimate. Steps of a node that share a reason are one line
/// unless `all`. `lanes` is how many will work side by side. `origins` (of Origins; empty: left
/// out) adds where each change began; `outlook` what the run needs beside time.
[[nodiscard]] std::string ForecastText(const Plan& plan, const Forecast& forecast, bool all,
                                       size_t lanes,
                                       std::span<const std::shared_ptr<const Cause>> origins = {},
                                       const std::optional<Outlook>& outlook = std::nullopt);
[[nodiscard]] std::string ForecastJson(const Plan& plan, const Forecast& forecast, size_t lanes,
                                       std::span<const std::shared_ptr<const Cause>> origins = {},
                                       const std::optional<Outlook>& outlook = std::nullopt);

}  // namespace puzzle
