#include "graph/step_context.h"

#include <fmt/format.h>

#include <algorithm>

#include "graph/key.h"
#include "io/error.h"

namespace puzzle {
namespace {

constexpr double kProgressInterval_s = 0.1;

}  // namespace

StepContext::StepContext(RunScope& run, StepId id, Lane& lane, Flight& flight)
    : run_(run),
      id_(id),
      lane_(lane),
      flight_(flight),
      begin_s_(run.announcer.Now()),
      announced_s_(begin_s_) {}

uint64_t StepContext::seed() const {
  return SeedOf(run_.plan, id_);
}

void StepContext::Poll(double fraction, std::string_view note) {
  if (run_.options.stop.stop_requested()) throw Cancelled();
  lane_.Adapt();
  const double now = run_.announcer.Now();
  const double timeout_s = run_.plan.node(id_).timeout_s;
  if (timeout_s > 0 && now - begin_s_ > timeout_s) {
    throw Error(fmt::format("stopped after {}: the node's timeout is {}s",
                            DurationText(now - begin_s_), timeout_s));
  }
  if (now - announced_s_ < kProgressInterval_s) return;
  announced_s_ = now;
  if (flight_.memory) flight_.memory->Sample();
  RunEvent event = StepEvent(RunEvent::Type::kProgress, id_);
  event.fraction = std::clamp(fraction, 0.0, 1.0);
  event.note = note;
  run_.announcer.Emit(event);
}

void StepContext::Warn(const std::string& message) {
  flight_.warnings.push_back(message);
  run_.announcer.Warn(id_, message);
}

std::shared_ptr<const void> StepContext::ResidentAny(const std::string& key,
                                                     const std::function<SizedValue()>& make) {
  return run_.caches.Of(lane_.device()).Get("derived " + key, make);
}

}  // namespace puzzle
