// `puzzle graph`: draws a graph, or writes it for another engine.
#pragma once

#include <string>

#include "apps/cli.h"
#include "apps/frame/load.h"

namespace puzzle {

struct GraphVerbOptions {
  GraphOptions graph;
  std::string format = "mermaid";  // or "dot", "makeflow"
  bool steps = false;
};

[[nodiscard]] int GraphCommand(const GraphVerbOptions& options, const Registry& registry,
                               const Hooks& hooks);
void AddGraphVerb(Verbs& verbs, const Registry& registry, const Hooks& hooks);

}  // namespace puzzle
