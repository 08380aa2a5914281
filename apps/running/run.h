// `puzzle run`: brings every result of a graph into the store.
#pragma once

#include <string>

#include "apps/cli.h"
#include "apps/frame/load.h"
#include "apps/running/fleet.h"
#include "apps/running/run_outputs.h"
#include "apps/running/worker.h"

namespace puzzle {

struct RunOptions {
  GraphOptions graph;
  LaneOptions lanes;
  SelectionOptions selection;
  int threads_per_lane = 0;  // 0: an equal share of the cores for every busy lane
  bool keep_going = false;
  bool dry_run = false;
  size_t resident_mib = 1024;  // for what several steps use
  uint64_t memory_mib = 0;     // for the program and its steps on cpu lanes; 0: what is free
  OnOptions on;                // who computes
  double lost_after_s = 0;     // for claims by files; 0: where they are needed, a minute
  WorkerOptions worker;        // of a run that a front started
  OutputOptions outputs;
  bool quiet = false;
  bool verbose = false;
  std::string command;  // as typed, for messages
};

[[nodiscard]] int RunCommand(const RunOptions& options, const Registry& registry,
                             const Hooks& hooks);
void AddRunVerb(Verbs& verbs, const Registry& registry, const Hooks& hooks);

}  // namespace puzzle
