// What happens during a run, as immutable views: progress displays, traces and tests listen here.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "graph/plan/plan.h"
#include "graph/plan/stale.h"

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

struct Report;

/// One moment of a run. Views are valid during the call only.
struct RunEvent {
  enum class Type {
    kRunStarted,   // plan and forecast are known; hits are not announced one by one
    kStepWaits,    // another run computes it: `message` says who
    kStepStarted,  // begins to compute
    kProgress,     // Poll of a running step, at most ten times a second per step
    kStepRetried,  // begins again, because of `message`; `reason` says how
    kStepSaving,   // has computed; its result is being saved
    kStepDone,     // has its outcome
    kWarning,      // `message`; `step` says about whom when `has_step`
    kRunDone,
  };
  Type type = Type::kRunStarted;
  const Plan* plan = nullptr;
  const Forecast* forecast = nullptr;
  double time_s = 0;  // since the run started
  size_t lanes = 0;   // of a kRunStarted
  bool has_step = false;
  StepId step = 0;
  std::string_view lane;    // "cpu#0", "host": where a started step runs
  std::string_view reason;  // why a started step runs
  double fraction = 0;      // of a kProgress
  double begun = 0;         // of a kProgress: of that, what a save point had already
  std::string_view note;    // of a kProgress
  Outcome outcome = Outcome::kOk;
  double wall_s = 0;               // of a step that ran
  std::string_view key;            // of a step that has a result
  const Report* report = nullptr;  // of a kRunDone
  uint64_t memory_bytes = 0;       // what it added to the process; 0: not measured
  std::string_view message;        // of a failure or warning; of a kStepWaits
};

/// Receives events. Calls come from many threads, but one at a time and in an order that respects
/// cause and effect. Must not throw and should return at once.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void OnEvent(const RunEvent& event) = 0;
};

/// Passes events on to several observers, in order. They outlive it.
class ObserverList final : public Observer {
 public:
  /// nullptr is ignored.
  void Add(Observer* observer) {
    if (observer != nullptr) observers_.push_back(observer);
  }
  [[nodiscard]] bool empty() const { return observers_.empty(); }
  void OnEvent(const RunEvent& event) override {
    for (Observer* observer : observers_) observer->OnEvent(event);
  }

 private:
  std::vector<Observer*> observers_;
};

}  // namespace puzzle
