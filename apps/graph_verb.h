// `puzzle graph`: draws a graph.
#pragma once

#include <string>

#include "apps/cli.h"
#include "apps/load.h"

namespace puzzle {

struct GraphVerbOptions {
  GraphOptions graph;
  std::string format = "mermaid";  // or "dot"
  bool steps = false;
};

[[nodiscard]] int GraphCommand(const GraphVerbOptions& options, const Registry& registry);
void AddGraphVerb(Verbs& verbs, const Registry& registry);

}  // namespace puzzle
