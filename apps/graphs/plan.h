// `puzzle plan`: what a run would do, and why.
#pragma once

#include "apps/cli.h"
#include "apps/frame/load.h"

namespace puzzle {

struct PlanVerbOptions {
  GraphOptions graph;
  LaneOptions lanes;
  SelectionOptions selection;
  bool all = false;
  bool verbose = false;
  bool json = false;
};

[[nodiscard]] int PlanCommand(const PlanVerbOptions& options, const Registry& registry,
                              const Hooks& hooks);
void AddPlanVerb(Verbs& verbs, const Registry& registry, const Hooks& hooks);

}  // namespace puzzle
