// What happens during a run, as immutable views: progress displays, traces and tests listen here.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "graph/plan.h"
#include "graph/stale.h"

namespace puzzle {

/// What became of a step.
enum class Outcome {
  kOk,         // ran
  kCached,     // its result was in the store, from the start or once its inputs were known
  kFailed,     // ran and threw
  kSkipped,    // an input failed
  kCancelled,  // stopped before it began, or while it ran
};

[[nodiscard]] std::string_view OutcomeName(Outcome outcome);

/// One moment of a run. Views are valid during the call only.
struct RunEvent {
  enum class Type {
    kRunStarted,   // plan and forecast are known; hits are not announced one by one
    kStepStarted,  // begins to compute
    kProgress,     // Poll of a running step, at most ten times a second per step
    kStepDone,     // has its outcome
    kWarning,      // `message`; `step` says about whom when `has_step`
    kRunDone,
  };
  Type type = Type::kRunStarted;
  const Plan* plan = nullptr;
  const Forecast* forecast = nullptr;
  double time_s = 0;  // since the run started
  bool has_step = false;
  StepId step = 0;
  std::string_view lane;    // "cpu#0", "host": where a started step runs
  std::string_view reason;  // why a started step runs
  double fraction = 0;      // of a kProgress
  std::string_view note;    // of a kProgress
  Outcome outcome = Outcome::kOk;
  double wall_s = 0;         // of a step that ran
  std::string_view message;  // of a failure or warning
};

/// Receives events. Calls come from many threads, but one at a time and in an order that respects
/// cause and effect. Must not throw and should return at once.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void OnEvent(const RunEvent& event) = 0;
};

}  // namespace puzzle
