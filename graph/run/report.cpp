#include "graph/run/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/quantity.h"

namespace puzzle {

using nlohmann::json;
using nlohmann::ordered_json;

std::string_view OutcomeName(Outcome outcome) {
  switch (outcome) {
    case Outcome::kOk:
      return "ok";
    case Outcome::kCached:
      return "cached";
    case Outcome::kFailed:
      return "failed";
    case Outcome::kSkipped:
      return "skipped";
    case Outcome::kCancelled:
      return "cancelled";
  }
  return {};
}

size_t Report::Count(Outcome outcome) const {
  return static_cast<size_t>(std::count_if(
      steps.begin(), steps.end(), [&](const StepResult& s) { return s.outcome == outcome; }));
}

int Report::ExitCode() const {
  if (interrupted) return 130;
  return Count(Outcome::kFailed) > 0 || Count(Outcome::kSkipped) > 0 ||
                 Count(Outcome::kCancelled) > 0
             ? 1
             : 0;
}

void SumUp(const Plan& plan, Report& report) {
  report.saved_s = report.critical_path_s = 0;
  std::vector<double> until(report.steps.size(), 0);
  for (const StepId id : plan.order) {
    const StepResult& step = report.steps[id];
    for (const StepId input : plan.predecessors(id)) until[id] = std::max(until[id], until[input]);
    if (step.outcome == Outcome::kCached) report.saved_s += step.record.wall_s;
    until[id] += step.wall_s;
    report.critical_path_s = std::max(report.critical_path_s, until[id]);
  }
}

std::vector<StepId> CriticalPath(const Plan& plan, const Report& report) {
  std::vector<double> until(plan.steps.size(), 0);
  std::vector<StepId> before(plan.steps.size());
  const StepId* last = nullptr;
  for (const StepId& id : plan.order) {
    before[id] = id;
    for (const StepId input : plan.predecessors(id)) {
      if (until[input] > until[id]) {
        until[id] = until[input];
        before[id] = input;
      }
    }
    until[id] += report.steps[id].wall_s;
    if (last == nullptr || until[id] > until[*last]) last = &id;
  }
  std::vector<StepId> path;
  if (last == nullptr || until[*last] <= 0) return path;
  for (StepId id = *last;; id = before[id]) {
    if (report.steps[id].wall_s > 0) path.push_back(id);
    if (before[id] == id) break;
  }
  std::reverse(path.begin(), path.end());
  return path;
}

RunTotals TotalsOf(const Report& report) {
  return {report.steps.size(),
          report.Count(Outcome::kCached),
          report.Count(Outcome::kOk),
          report.Count(Outcome::kFailed),
          report.Count(Outcome::kSkipped),
          report.Count(Outcome::kCancelled),
          report.saved_s,
          report.wall_s,
          report.critical_path_s};
}

std::string SummaryLine(const Report& report) {
  return SummaryLine(TotalsOf(report));
}

std::string SummaryLine(const RunTotals& totals) {
  std::string line = fmt::format("{} step{}: {} cached", totals.steps, totals.steps == 1 ? "" : "s",
                                 totals.cached);
  if (totals.saved_s >= 0.05) line += " (saved " + DurationText(totals.saved_s) + ")";
  line += fmt::format(", {} run", totals.ran);
  const std::pair<size_t, Outcome> bad[] = {{totals.failed, Outcome::kFailed},
                                            {totals.skipped, Outcome::kSkipped},
                                            {totals.cancelled, Outcome::kCancelled}};
  for (const auto& [count, outcome] : bad) {
    if (count > 0) line += fmt::format(", {} {}", count, OutcomeName(outcome));
  }
  line += "; " + DurationText(totals.wall_s);
  if (totals.critical_path_s >= 0.05) {
    line += "; critical path " + DurationText(totals.critical_path_s);
  }
  return line;
}

std::string FailuresText(const Plan& plan, const Report& report, const std::string& command) {
  std::string text;
  for (StepId id = 0; id < plan.steps.size(); ++id) {
    const StepResult& step = report.steps[id];
    if (step.outcome != Outcome::kFailed) continue;
    text += fmt::format("failed: {} (kind {}, after {})\n    {}\n", plan.steps[id].name,
                        plan.kind(id).name, DurationText(step.wall_s), step.message);
    std::string inputs;
    for (const StepId input : plan.predecessors(id)) {
      if (inputs.size() > 300) {
        inputs += ", ...";
        break;
      }
      inputs += (inputs.empty() ? "" : ", ") + plan.steps[input].name;
    }
    if (!inputs.empty()) text += "    inputs: " + inputs + '\n';
  }
  if (!text.empty() && !command.empty()) {
    text += "Finished results are kept; to go on from here, run the same command again:\n    " +
            command + '\n';
  }
  return text;
}

std::string DisplayText(const Plan& plan, const Report& report) {
  std::string text;
  for (StepId id = 0; id < plan.steps.size(); ++id) {
    if (!plan.successors(id).empty() || report.steps[id].record.json.empty()) continue;
    // Most records have no display; looking before parsing keeps no-op runs short.
    if (report.steps[id].record.json.find("\"display\":") == std::string_view::npos) continue;
    std::string display = RecordJson(report.steps[id].record).value("display", "");
    if (display.empty()) continue;
    if (display.back() != '\n') display += '\n';
    text += fmt::format("\n{}:\n{}", plan.steps[id].name, display);
  }
  return text;
}

std::string SummaryJson(const Plan& plan, const Report& report) {
  ordered_json summary;
  summary["steps"] = {
      {"total", report.steps.size()},
      {"ran", report.Count(Outcome::kOk)},
      {"cached", report.Count(Outcome::kCached)},
      {"failed", report.Count(Outcome::kFailed)},
      {"skipped", report.Count(Outcome::kSkipped) + report.Count(Outcome::kCancelled)}};
  summary["wall_s"] = report.wall_s;
  summary["saved_s"] = report.saved_s;
  summary["critical_path_s"] = report.critical_path_s;
  ordered_json& results = summary["results"] = ordered_json::object();
  ordered_json failures = ordered_json::object();
  for (StepId id = 0; id < plan.steps.size(); ++id) {
    const StepResult& step = report.steps[id];
    if (!step.record.json.empty()) {
      results[plan.steps[id].name] = RecordJson(step.record).value("scalars", json::object());
    } else if (step.outcome == Outcome::kFailed) {
      failures[plan.steps[id].name] = step.message;
    }
  }
  if (!failures.empty()) summary["failures"] = std::move(failures);
  if (!report.warnings.empty()) summary["warnings"] = report.warnings;
  return summary.dump(2, ' ', false, ordered_json::error_handler_t::replace) + '\n';
}

}  // namespace puzzle
