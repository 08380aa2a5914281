// Runs the steps of a plan: a oneTBB flow graph for order and host work, lanes for devices. The one
// home of oneTBB.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <stop_token>
#include <string>

#include "graph/plan/plan.h"
#include "graph/plan/stale.h"
#include "graph/run/lanes.h"
#include "graph/run/observer.h"
#include "graph/run/report.h"
#include "graph/store/store.h"

namespace puzzle {

/// What the failure of a step means for its lane.
enum class FailureKind {
  kOrdinary,
  kOutOfMemory,  // it may work when nothing else is on the device: tried once more, alone
  kDeviceLost,   // nothing will work on this lane any more: it retires, the step moves on
};

struct ExecuteOptions {
  bool keep_going = false;                  // after a failure, start whatever does not depend on it
  size_t resident_bytes = size_t{1} << 30;  // per kind of device
  /// For steps on cpu lanes and what is resident for them; while a step runs that needs the room,
  /// less is resident.
  uint64_t memory_bytes = UINT64_MAX;
  int host_threads = 0;      // for steps without a device; 0: one per core
  double save_point_s = 60;  // between save points of a step, at least; 0: every round
  std::string tool;          // version, for records
  std::map<std::string, std::string> numerics;  // what decides the last bits, for records
  std::string command;                          // that would make all of this again, for records
  std::stop_token stop;                         // ends the run early; running steps see it in Poll
  /// Knows the exceptions of the library behind the devices. std::bad_alloc is known anyway.
  std::function<FailureKind(const std::exception&)> classify;
};

/// Runs what `forecast` (of MarkStale) says is not a hit. Never throws for a failing step: its
/// outcome and message are in the report. `observer` may be nullptr.
/// REQUIRES: every kind that has to run has a body.
[[nodiscard]] Report Execute(const Plan& plan, const Forecast& forecast, Store& store, Lanes& lanes,
                             Observer* observer, const ExecuteOptions& options);

/// The report of a run in which every step is a hit. Starts no thread. `observer` may be nullptr.
[[nodiscard]] Report ReportHits(const Plan& plan, const Forecast& forecast, Store& store,
                                Observer* observer, const std::string& command);

}  // namespace puzzle
