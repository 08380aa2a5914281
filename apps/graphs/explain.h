// `puzzle explain`: why steps would run, back to where the change began.
#pragma once

#include <string>

#include "apps/cli.h"
#include "apps/frame/load.h"

namespace puzzle {

struct ExplainOptions {
  GraphOptions graph;
  std::string step;  // a pattern
  bool json = false;
};

[[nodiscard]] int ExplainCommand(const ExplainOptions& options, const Registry& registry,
                                 const Hooks& hooks);
void AddExplainVerb(Verbs& verbs, const Registry& registry, const Hooks& hooks);

}  // namespace puzzle
