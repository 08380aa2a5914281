// What the steps of one run share while it goes on. Thread-safe as far as each member says.
#pragma once

#include <atomic>
#include <mutex>
#include <set>
#include <string>

#include "graph/run/announcer.h"
#include "graph/run/executor.h"
#include "graph/run/memory_meter.h"
#include "graph/run/resident.h"

namespace puzzle {

/// Devices that are of no use to this run any more. Thread-safe.
class LostDevices {
 public:
  /// False when that is known already.
  bool Add(const Device& device) {
    const std::scoped_lock lock(mutex_);
    return names_.insert(device.name()).second;
  }
  [[nodiscard]] bool Contains(const Device& device) const {
    const std::scoped_lock lock(mutex_);
    return !names_.empty() && names_.contains(device.name());
  }

 private:
  mutable std::mutex mutex_;
  std::set<std::string> names_;
};

/// Plan, forecast, store and options outlive it.
struct RunScope {
  RunScope(const Plan& p, const Forecast& f, Store& s, Observer* observer, const ExecuteOptions& o)
      : plan(p),
        forecast(f),
        store(s),
        options(o),
        announcer(p, f, observer),
        caches(o.resident_bytes, o.memory_bytes),
        results(p.steps.size()) {}

  /// Nothing else is to begin: the user asked to stop, or a step failed.
  [[nodiscard]] bool Stopping() const {
    return options.stop.stop_requested() || (failed.load() && !options.keep_going);
  }

  const Plan& plan;
  const Forecast& forecast;
  Store& store;
  const ExecuteOptions& options;
  Announcer announcer;
  ResidentCaches caches;
  AllocatedBytes allocated;
  PageWatch pages;
  LostDevices lost;
  std::vector<StepResult> results;   // per step; written once, before its successors begin
  std::atomic<bool> failed = false;  // some step did
};

}  // namespace puzzle
