#include <fmt/format.h>

#include <map>
#include <mutex>

#include "graph/run/report.h"
#include "graph/view/progress.h"
#include "io/printable.h"
#include "io/quantity.h"

namespace puzzle {
namespace {

/// A step that runs now.
struct RunningStep {
  double since_s = 0;
  double told_s = 0;  // when something was last said about it
  double fraction = 0;
  std::string note;
};

class PlainView final : public ProgressView {
 public:
  explicit PlainView(ProgressOptions options) : options_(std::move(options)) {}

  void OnEvent(const RunEvent& event) override {
    const std::scoped_lock lock(mutex_);
    const double now = options_.clock();
    if (event.plan != nullptr) plan_ = event.plan;
    switch (event.type) {
      case RunEvent::Type::kRunStarted:
        todo_ = event.forecast->runs + event.forecast->waits;
        if (todo_ > 0) {
          Line(fmt::format("{} of {} steps are in the store, {} to run or to decide",
                           event.forecast->hits, plan_->steps.size(), todo_));
        }
        break;
      case RunEvent::Type::kStepWaits:
        Line(fmt::format("wait    {} for {}", Name(event.step), event.message));
        break;
      case RunEvent::Type::kStepStarted:
        running_[event.step] = {now, now, 0, {}};
        Line(fmt::format("start   {} on {}{}", Name(event.step), event.lane,
                         event.reason.empty() ? "" : fmt::format("  ({})", event.reason)));
        break;
      case RunEvent::Type::kProgress:
        if (auto it = running_.find(event.step); it != running_.end()) {
          it->second.fraction = event.fraction;
          it->second.note = event.note;
        }
        break;
      case RunEvent::Type::kStepRetried:
        running_.erase(event.step);
        Line(fmt::format("again   {} {}  ({})", Name(event.step), event.reason, event.message));
        break;
      case RunEvent::Type::kStepSaving:
        break;
      case RunEvent::Type::kStepDone:
        running_.erase(event.step);
        ++done_;
        Done(event);
        break;
      case RunEvent::Type::kWarning:
        Line(fmt::format("warning {}{}", event.has_step ? Name(event.step) + ": " : "",
                         event.message));
        break;
      case RunEvent::Type::kRunDone:
        plan_ = nullptr;
        break;
    }
  }

  void Tick() override {
    const std::scoped_lock lock(mutex_);
    if (plan_ == nullptr) return;
    const double now = options_.clock();
    for (auto& [id, step] : running_) {
      if (now - step.told_s < options_.plain_interval_s) continue;
      step.told_s = now;
      std::string line = fmt::format("running {} {}", Name(id), DurationText(now - step.since_s));
      if (step.fraction > 0) line += fmt::format(", {:.0f}%", 100 * step.fraction);
      if (!step.note.empty()) line += ", " + step.note;
      Line(line);
    }
  }

 private:
  const std::string& Name(StepId id) const { return plan_->steps[id].name; }
  void Line(const std::string& text) { options_.write(Printable(text) + '\n'); }
  void Done(const RunEvent& event) {
    const std::string count = fmt::format("  [{}/{}]", done_, todo_);
    switch (event.outcome) {
      case Outcome::kOk:
        Line(fmt::format("done    {} {}{}", Name(event.step), DurationText(event.wall_s), count));
        break;
      case Outcome::kCached:
        Line(fmt::format("cached  {}{}", Name(event.step), count));
        break;
      case Outcome::kFailed:
        Line(fmt::format("FAILED  {} after {}: {}", Name(event.step), DurationText(event.wall_s),
                         event.message));
        break;
      case Outcome::kSkipped:
        Line(fmt::format("skipped {}: {}", Name(event.step), event.message));
        break;
      case Outcome::kCancelled:
        break;
    }
  }

  ProgressOptions options_;
  std::mutex mutex_;
  const Plan* plan_ = nullptr;
  std::map<StepId, RunningStep> running_;
  size_t todo_ = 0;
  size_t done_ = 0;
};

}  // namespace

std::unique_ptr<ProgressView> MakePlainView(ProgressOptions options) {
  return std::make_unique<PlainView>(std::move(options));
}

}  // namespace puzzle
