// `puzzle kinds`: what can stand in a graph.
#pragma once

#include <string>

#include "apps/cli.h"

namespace puzzle {

struct KindsOptions {
  std::string kind;  // "": list all
  bool json = false;
};

[[nodiscard]] int KindsCommand(const KindsOptions& options, const Registry& registry);
void AddKindsVerb(Verbs& verbs, const Registry& registry);

}  // namespace puzzle
