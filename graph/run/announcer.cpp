#include "graph/run/announcer.h"

namespace puzzle {

Announcer::Announcer(const Plan& plan, const Forecast& forecast, Observer* observer)
    : plan_(plan), forecast_(forecast), observer_(observer) {}

double Announcer::Now() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
}

void Announcer::Emit(RunEvent event) {
  if (observer_ == nullptr) return;
  event.plan = &plan_;
  event.forecast = &forecast_;
  const std::scoped_lock lock(mutex_);
  event.time_s = Now();
  observer_->OnEvent(event);
}

void Announcer::Warn(std::optional<StepId> step, const std::string& message) {
  {
    const std::scoped_lock lock(mutex_);
    warnings_.push_back(step ? plan_.steps[*step].name + ": " + message : message);
  }
  RunEvent event;
  event.type = RunEvent::Type::kWarning;
  event.has_step = step.has_value();
  event.step = step.value_or(0);
  event.message = message;
  Emit(event);
}

std::vector<std::string> Announcer::Warnings() const {
  const std::scoped_lock lock(mutex_);
  return warnings_;
}

RunEvent StepEvent(RunEvent::Type type, StepId step) {
  RunEvent event;
  event.type = type;
  event.has_step = true;
  event.step = step;
  return event;
}

}  // namespace puzzle
