#include "graph/crew/crew.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>

namespace puzzle {
namespace {

/// What a worker finds may have been made by one whose line is still on its way.
constexpr double kFoundAfter_s = 0.3;
/// Clocks of machines that are looked after differ by less.
constexpr double kClocksDiffer_s = 60;
/// Hosts on which a step fails before it has failed for good.
constexpr size_t kEnoughHosts = 2;
/// Workers that are lost at a step before it has failed for good: it may be what ends them.
constexpr size_t kMostLosses = 5;
constexpr size_t kMostNames = 5;

bool HasResult(Outcome outcome) {
  return outcome == Outcome::kOk || outcome == Outcome::kCached;
}

/// The record of a result that a worker reports. What another machine wrote may show up late here;
/// when that was waited for in vain once, it is `patient` no more.
std::optional<Record> FindReported(Store& store, std::string_view key, bool& patient) {
  std::optional<Record> record = store.FindRecord(key);
  if (record || !patient) return record;
  const Lookup late = store.FindAfterWait(key);
  patient = late.presence == Presence::kWhole;
  if (patient) record = late.record;
  return record;
}

double ClockSeconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

Crew::Crew(const Plan& plan, const Forecast& forecast, Observer* observer, Options options)
    : plan_(plan),
      forecast_(forecast),
      options_(std::move(options)),
      announcer_(plan, forecast, observer),
      steps_(plan.steps.size()) {
  for (StepId id = 0; id < plan.steps.size(); ++id) {
    ids_.emplace(plan.steps[id].name, id);
    const StepForecast& step = forecast.steps[id];
    if (step.fate == Fate::kHit) {
      steps_[id].settled = true;
      steps_[id].outcome = Outcome::kCached;
      steps_[id].key = step.record.key;
    } else {
      ++open_;
    }
  }
}

void Crew::Begin(size_t lanes) {
  RunEvent event;
  event.lanes = lanes;
  announcer_.Emit(event);
}

// ---------------------------------------------------------------------------------------------
// Workers

std::string Crew::NameOf(const std::string& name) const {
  const auto it = workers_.find(name);
  if (it == workers_.end() || it->second.host.empty()) return name;
  return fmt::format("{} on {}", name, it->second.host);
}

bool Crew::IsDone(const std::string& name) const {
  const auto it = workers_.find(name);
  return it != workers_.end() && it->second.done;
}

std::string Crew::RefusalOf(const std::string& name) const {
  const auto it = workers_.find(name);
  return it == workers_.end() ? "" : it->second.refusal;
}

bool Crew::IsHopeless(const std::string& name) const {
  const auto it = workers_.find(name);
  return it != workers_.end() && it->second.hopeless;
}

std::vector<std::string> Crew::Present() const {
  std::vector<std::string> names;
  for (const auto& [name, worker] : workers_) {
    if (!worker.gone) names.push_back(name);
  }
  return names;
}

/// "process 123 on host".
bool Crew::IsOneOfUs(const std::string& holder) const {
  return std::any_of(workers_.begin(), workers_.end(),
                     [&](const auto& entry) { return holder == entry.second.process; });
}

void Crew::Warn(const std::string& message) {
  if (said_.insert(message).second) announcer_.Warn(std::nullopt, message);
}

void Crew::TakeHello(const std::string& name, const WorkerHello& hello) {
  Worker& worker = workers_[name];
  worker = Worker();  // it may have been here before
  worker.host = hello.host;
  worker.process = hello.process;
  if (hello.tool != options_.tool) {
    worker.refusal =
        fmt::format("it is version {} of the program, this is {}", hello.tool, options_.tool);
  } else if (hello.plan != PlanMark(plan_)) {
    worker.refusal =
        "its plan is another one: files that the graph names, or the program, differ there";
  }
  if (!worker.refusal.empty()) {
    Warn(fmt::format("{} is not used: {}", NameOf(name), worker.refusal));
  }
  const double ahead_s = hello.clock_s - ClockSeconds();
  if (std::abs(ahead_s) > kClocksDiffer_s) {
    Warn(
        fmt::format("the clock of {} is {:.0f} s {}: times in its records will be, nothing else "
                    "depends on it",
                    hello.host, std::abs(ahead_s), ahead_s > 0 ? "ahead" : "behind"));
  }
}

void Crew::Leave(const std::string& name, const std::string& how) {
  const auto it = workers_.find(name);
  if (it == workers_.end() || it->second.gone) return;
  Worker& worker = it->second;
  worker.gone = true;
  if (worker.done || !worker.refusal.empty()) return;
  std::string steps;
  size_t count = 0;
  const std::set<StepId> running = std::move(worker.running);
  for (const StepId id : running) {
    if (steps_[id].settled || steps_[id].losses + 1 >= kMostLosses) continue;
    if (++count <= kMostNames) steps += (steps.empty() ? "" : ", ") + plan_.steps[id].name;
  }
  if (count > kMostNames) steps += fmt::format(" and {} more", count - kMostNames);
  announcer_.Warn(std::nullopt, fmt::format("LOST {} ({}): {}{}", NameOf(name), worker.process, how,
                                            steps.empty() ? "" : "; left to others: " + steps));
  for (const StepId id : running) Lose(name, worker, id, how);
}

/// A worker was lost while it was at a step.
void Crew::Lose(const std::string& name, Worker& worker, StepId id, const std::string& how) {
  StepState& step = steps_[id];
  if (!step.settled && (step.found_s >= 0 || ++step.losses < kMostLosses))
    return Reopen(id, NameOf(name) + " was lost", "by another worker");
  worker.hopeless = worker.hopeless || step.losses >= kMostLosses;
  if (step.settled) return;
  const std::string message = fmt::format(
      "{} workers were lost while they were at it, the last one so: {}", step.losses, how);
  step.failures.insert_or_assign(worker.host, message);
  step.worker = name;
  Settle(id, Outcome::kFailed, fmt::format("on {}: {}", worker.host, message));
}

// ---------------------------------------------------------------------------------------------
// Lines

void Crew::TakeLine(const std::string& name, std::string_view line) {
  if (const auto hello = ParseHello(line)) return TakeHello(name, *hello);
  const auto it = workers_.find(name);
  if (it == workers_.end() || !it->second.refusal.empty()) return;
  const auto event = ParseWorkerEvent(line);
  if (!event) return;
  if (event->event == "run_done") {
    it->second.done = true;
  } else if (event->event == "warning" && event->step.empty()) {
    if (!said_.contains(event->message)) {
      said_.insert(event->message);
      announcer_.Warn(std::nullopt, NameOf(name) + ": " + event->message);
    }
  } else if (const auto id = ids_.find(event->step); id != ids_.end()) {
    TakeEvent(name, it->second, *event, id->second);
  }
}

void Crew::TakeEvent(const std::string& name, Worker& worker, const WorkerEvent& event, StepId id) {
  StepState& step = steps_[id];
  if (event.event == "step_done") return TakeOutcome(name, worker, event, id);
  if (event.event == "warning") {
    return announcer_.Warn(id, fmt::format("{} ({})", event.message, NameOf(name)));
  }
  if (event.event == "step_started") worker.running.insert(id);
  if (step.settled) return;  // a copy of a step that has its result
  if (event.event == "step_waits") {
    if (IsOneOfUs(event.waits_for)) return;
    RunEvent waits = StepEvent(RunEvent::Type::kStepWaits, id);
    waits.message = event.waits_for;
    if (said_.insert(event.step + " waits for " + event.waits_for).second) announcer_.Emit(waits);
    return;
  }
  const std::string lane = fmt::format("{} {}", NameOf(name), event.lane);
  if (event.event == "step_started") {
    if (step.started) return;
    step.started = true;
    step.worker = name;
    RunEvent started = StepEvent(RunEvent::Type::kStepStarted, id);
    started.lane = lane;
    started.reason = event.reason;
    return announcer_.Emit(started);
  }
  if (step.worker != name) return;
  RunEvent told = StepEvent(RunEvent::Type::kStepSaving, id);
  if (event.event == "step_progress") {
    told.type = RunEvent::Type::kProgress;
    told.fraction = event.fraction;
    told.begun = event.begun;
    told.note = event.note;
    if (event.begun > step.begun) {  // workers that are lost leave something behind
      step.begun = event.begun;
      step.losses = 0;
    }
  } else if (event.event == "step_retried") {
    step.started = false;
    return Reopen(id, event.message, event.next);
  }
  announcer_.Emit(told);
}

void Crew::Reopen(StepId id, const std::string& message, const std::string& next) {
  StepState& step = steps_[id];
  if (step.settled) return;
  step.started = false;
  RunEvent event = StepEvent(RunEvent::Type::kStepRetried, id);
  event.message = message;
  event.reason = next;
  announcer_.Emit(event);
}

void Crew::TakeOutcome(const std::string& name, Worker& worker, const WorkerEvent& event,
                       StepId id) {
  StepState& step = steps_[id];
  const bool was_running = worker.running.erase(id) > 0;
  if (event.outcome == "failed") return TakeFailure(name, worker, event, id);
  if (event.outcome == "cached") {
    if (step.settled || step.found_s >= 0) return;
    step.found_s = announcer_.Now();
    step.key = event.key;
    found_.insert(id);
    return;
  }
  if (event.outcome != "ok") {
    if (was_running && step.worker == name) step.started = false;
    return;
  }
  if (HasResult(step.outcome) && step.outcome == Outcome::kOk) {
    return Warn(fmt::format("{} was computed by {} and by {}; the first result stays", event.step,
                            NameOf(step.worker), NameOf(name)));
  }
  step.worker = name;
  step.key = event.key;
  step.wall_s = event.wall_s;
  step.memory_mib = event.memory_mib;
  Settle(id, Outcome::kOk, "");
}

void Crew::TakeFailure(const std::string& name, Worker& worker, const WorkerEvent& event,
                       StepId id) {
  StepState& step = steps_[id];
  step.failures.emplace(worker.host, event.message);
  if (step.settled) return;
  step.worker = name;
  step.wall_s = event.wall_s;
  if (step.failures.size() >= std::min(kEnoughHosts, options_.hosts)) {
    return Settle(id, Outcome::kFailed, fmt::format("on {}: {}", worker.host, event.message));
  }
  const std::string message = fmt::format("failed on {}: {}", worker.host, event.message);
  if (said_.insert(message).second) announcer_.Warn(id, message + "; left to other hosts");
  Reopen(id, message, "on another host");
}

void Crew::Settle(StepId id, Outcome outcome, const std::string& message) {
  StepState& step = steps_[id];
  if (HasResult(outcome) && !HasResult(step.outcome)) --open_;
  const bool announced = std::exchange(step.settled, true);
  step.outcome = outcome;
  step.started = false;
  failed_ = failed_ || outcome == Outcome::kFailed;
  found_.erase(id);
  if (announced) return;
  RunEvent event = StepEvent(RunEvent::Type::kStepDone, id);
  event.outcome = outcome;
  event.wall_s = step.wall_s;
  event.memory_bytes = static_cast<uint64_t>(step.memory_mib * 1048576.0);
  event.message = message;
  event.key = step.key;
  announcer_.Emit(event);
}

void Crew::Tick() {
  const double now_s = announcer_.Now();
  const std::set<StepId> found = found_;
  for (const StepId id : found) {
    const StepState& step = steps_[id];
    if (!step.started && now_s - step.found_s >= kFoundAfter_s) Settle(id, Outcome::kCached, "");
  }
}

// ---------------------------------------------------------------------------------------------
// The end

Report Crew::Finish(Store& store, bool interrupted) {
  const std::set<StepId> found = found_;
  for (const StepId id : found) Settle(id, Outcome::kCached, "");
  Report report;
  report.steps.resize(plan_.steps.size());
  bool patient = true;
  for (const StepId id : plan_.order) {
    StepState& step = steps_[id];
    StepResult& result = report.steps[id];
    if (HasResult(step.outcome)) {
      const StepForecast& forecast = forecast_.steps[id];
      const auto record = forecast.fate == Fate::kHit ? std::optional(forecast.record)
                                                      : FindReported(store, step.key, patient);
      if (record) {
        result = {step.outcome,
                  *record,
                  {},
                  step.wall_s,
                  static_cast<uint64_t>(step.memory_mib * 1048576.0),
                  NameOf(step.worker)};
        continue;
      }
      step.failures.emplace("here", fmt::format("{} says that it is done, but the store {} does "
                                                "not show it",
                                                NameOf(step.worker), store.folder()));
    }
    if (!step.failures.empty()) {
      std::string message;
      for (const auto& [host, text] : step.failures) {
        message += fmt::format("{}on {}: {}", message.empty() ? "" : "; ", host, text);
      }
      result = {Outcome::kFailed, {}, message, step.wall_s, 0, NameOf(step.worker)};
      continue;
    }
    for (const StepId input : plan_.predecessors(id)) {
      const Outcome outcome = report.steps[input].outcome;
      if (outcome != Outcome::kFailed && outcome != Outcome::kSkipped) continue;
      result = {Outcome::kSkipped, {}, "input " + plan_.steps[input].name + " failed", 0};
      break;
    }
  }
  for (StepId id = 0; id < report.steps.size(); ++id) {
    if (!steps_[id].settled) Settle(id, report.steps[id].outcome, report.steps[id].message);
  }
  report.warnings = announcer_.Warnings();
  report.wall_s = announcer_.Now();
  report.interrupted = interrupted && report.Count(Outcome::kCancelled) > 0;
  SumUp(plan_, report);
  RunEvent event;
  event.type = RunEvent::Type::kRunDone;
  event.report = &report;
  announcer_.Emit(event);
  return report;
}

}  // namespace puzzle
