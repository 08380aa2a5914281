// Tells an observer what happens during a run. Thread-safe.
#pragma once

#include <chrono>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "graph/run/observer.h"

namespace puzzle {

/// Stamps events with the time and passes them on, one at a time. The run begins when this object
/// is made.
class Announcer {
 public:
  /// `observer` may be nullptr. All three outlive this object.
  Announcer(const Plan& plan, const Forecast& forecast, Observer* observer);

  /// Seconds since the run began.
  [[nodiscard]] double Now() const;
  /// Passes an event on; plan, forecast and time are filled in.
  void Emit(RunEvent event);
  /// Says that something about a step, or about the whole run, is wrong but no reason to fail.
  void Warn(std::optional<StepId> step, const std::string& message);
  /// What was warned of, with the names of the steps.
  [[nodiscard]] std::vector<std::string> Warnings() const;

 private:
  const Plan& plan_;
  const Forecast& forecast_;
  Observer* const observer_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  mutable std::mutex mutex_;  // one event at a time; also guards warnings_
  std::vector<std::string> warnings_;
};

/// An event about a step; everything else is empty.
[[nodiscard]] RunEvent StepEvent(RunEvent::Type type, StepId step);

}  // namespace puzzle
