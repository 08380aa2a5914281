// Runs the steps of a plan: a oneTBB flow graph for order and host work, lanes for devices. The one
// home of oneTBB.
#pragma once

#include <stop_token>
#include <string>

#include "graph/lanes.h"
#include "graph/observer.h"
#include "graph/plan.h"
#include "graph/report.h"
#include "graph/stale.h"
#include "graph/store.h"

namespace puzzle {

struct ExecuteOptions {
  bool keep_going = false;  // after a failure, start whatever does not depend on it
  size_t resident_bytes = size_t{512} << 20;  // per kind of device
  int host_threads = 0;                       // for steps without a device; 0: one per core
  std::string tool;                           // version, for records
  std::stop_token stop;                       // ends the run early; running steps see it in Poll
};

/// Runs what `forecast` (of MarkStale) says is not a hit. Never throws for a failing step: its
/// outcome and message are in the report. `observer` may be nullptr.
/// REQUIRES: every kind that has to run has a body.
[[nodiscard]] Report Execute(const Plan& plan, const Forecast& forecast, Store& store, Lanes& lanes,
                             Observer* observer, const ExecuteOptions& options);

/// The report of a run in which every step is a hit. Starts no thread.
[[nodiscard]] Report ReportHits(const Plan& plan, const Forecast& forecast, Store& store);

}  // namespace puzzle
