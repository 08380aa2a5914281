#include "graph/view/events.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "graph/run/report.h"

namespace puzzle {
namespace {

using nlohmann::ordered_json;

constexpr int kEventFormat = 1;

double Milli(double seconds) {
  return std::round(seconds * 1e6) / 1e6;
}

ordered_json StepLine(const RunEvent& event, const char* name) {
  return {{"event", name},
          {"t", Milli(event.time_s)},
          {"step", event.plan->steps[event.step].name},
          {"kind", event.plan->kind(event.step).name}};
}

ordered_json Done(const RunEvent& event) {
  ordered_json line = StepLine(event, "step_done");
  line["outcome"] = OutcomeName(event.outcome);
  if (event.outcome == Outcome::kOk || event.outcome == Outcome::kFailed) {
    line["wall_s"] = Milli(event.wall_s);
  }
  if (event.memory_bytes > 0) {
    line["memory_mib"] = std::round(static_cast<double>(event.memory_bytes) / 1048576.0);
  }
  if (!event.message.empty()) line["message"] = event.message;
  if (!event.key.empty()) line["key"] = event.key;
  return line;
}

ordered_json RunDone(const RunEvent& event) {
  const Report& report = *event.report;
  return {{"event", "run_done"},
          {"t", Milli(event.time_s)},
          {"ok", report.Count(Outcome::kOk)},
          {"cached", report.Count(Outcome::kCached)},
          {"failed", report.Count(Outcome::kFailed)},
          {"skipped", report.Count(Outcome::kSkipped)},
          {"cancelled", report.Count(Outcome::kCancelled)},
          {"saved_s", Milli(report.saved_s)},
          {"critical_path_s", Milli(report.critical_path_s)},
          {"exit", report.ExitCode()}};
}

ordered_json Line(const RunEvent& event) {
  ordered_json line;
  switch (event.type) {
    case RunEvent::Type::kRunStarted:
      return {{"event", "run_started"},
              {"t", Milli(event.time_s)},
              {"format", kEventFormat},
              {"steps", event.plan->steps.size()},
              {"cached", event.forecast->hits},
              {"lanes", event.lanes},
              {"expected_s", Milli(event.forecast->expected_s)}};
    case RunEvent::Type::kStepWaits:
      line = StepLine(event, "step_waits");
      line["for"] = event.message;
      return line;
    case RunEvent::Type::kStepStarted:
      line = StepLine(event, "step_started");
      line["lane"] = event.lane;
      line["reason"] = event.reason;
      return line;
    case RunEvent::Type::kProgress:
      line = StepLine(event, "step_progress");
      line["fraction"] = Milli(event.fraction);
      if (event.begun > 0) line["begun"] = Milli(event.begun);
      if (!event.note.empty()) line["note"] = event.note;
      return line;
    case RunEvent::Type::kStepRetried:
      line = StepLine(event, "step_retried");
      line["message"] = event.message;
      line["next"] = event.reason;
      return line;
    case RunEvent::Type::kStepSaving:
      return StepLine(event, "step_saving");
    case RunEvent::Type::kStepDone:
      return Done(event);
    case RunEvent::Type::kWarning:
      line = {{"event", "warning"}, {"t", Milli(event.time_s)}};
      if (event.has_step) line["step"] = event.plan->steps[event.step].name;
      line["message"] = event.message;
      return line;
    case RunEvent::Type::kRunDone:
      return RunDone(event);
  }
  return line;
}

}  // namespace

void EventWriter::OnEvent(const RunEvent& event) {
  write_(Line(event).dump(-1, ' ', false, ordered_json::error_handler_t::replace) + '\n');
  if (event.type != RunEvent::Type::kRunStarted) return;
  RunEvent hit = event;  // one line per step that was there from the start
  hit.type = RunEvent::Type::kStepDone;
  hit.has_step = true;
  hit.outcome = Outcome::kCached;
  for (StepId id = 0; id < event.plan->steps.size(); ++id) {
    if (event.forecast->steps[id].fate != Fate::kHit) continue;
    hit.step = id;
    hit.key = event.forecast->steps[id].record.key;
    OnEvent(hit);
  }
}

}  // namespace puzzle
