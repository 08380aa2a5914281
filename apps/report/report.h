// `puzzle report`: what a store knows about a graph, as one HTML file. Computes nothing.
#pragma once

#include <string>

#include "apps/cli.h"
#include "apps/frame/load.h"

namespace puzzle {

struct ReportOptions {
  GraphOptions graph;
  std::string output;  // "": the graph's name and .html
  std::string events;  // of `run --events`, for curves; "": none
};

[[nodiscard]] int ReportCommand(const ReportOptions& options, const Registry& registry,
                                const Hooks& hooks);
/// `registry` and `hooks` have to outlive the verbs.
void AddReportVerb(Verbs& verbs, const Registry& registry, const Hooks& hooks);

}  // namespace puzzle
