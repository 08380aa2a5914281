// When each step of a run was where: what traces, pictures and reports are drawn from.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "graph/run/observer.h"

namespace puzzle {

/// One step in one row for a while.
struct Span {
  enum class Type {
    kComputing,
    kRetried,  // computing, in vain
    kSaving,
    kCached,  // a moment: its result was found
  };
  Type type = Type::kComputing;
  StepId step = 0;
  uint32_t row = 0;
  double begin_s = 0;  // since the run started
  double end_s = 0;
  Outcome outcome = Outcome::kCancelled;  // of the step, in the end
  std::string note;                       // why it ran, or how it failed
};

/// The rows and what happened in them. Spans of one row do not overlap. A value.
struct Timeline {
  struct Row {
    enum class Type { kLane, kHost, kSaving, kCached };
    Type type = Type::kLane;
    std::string name;  // "cpu#0", "host", "host 2", "saving", "cached"
  };
  std::vector<Row> rows;    // lanes by name, then the others in the order of their types
  std::vector<Span> spans;  // by row, then by time
  double end_s = 0;
};

/// Writes a timeline down while a run goes on. Thread-safe.
class TimelineRecorder final : public Observer {
 public:
  void OnEvent(const RunEvent& event) override;
  /// Everything so far; steps that still run end now. Host steps and savings that happened at the
  /// same time are spread over several rows.
  [[nodiscard]] Timeline Take() const;

 private:
  struct Open {
    Span span;
    std::string lane;
  };
  void Close(StepId step, Span::Type type, double now);

  mutable std::mutex mutex_;
  std::map<StepId, Open> open_;
  std::vector<Open> closed_;
  std::map<StepId, Outcome> outcomes_;
  double now_s_ = 0;
};

}  // namespace puzzle
