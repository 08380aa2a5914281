// What came out of a run. Values.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "graph/plan/plan.h"
#include "graph/plan/stale.h"
#include "graph/run/observer.h"

namespace puzzle {

/// One step after the run. Written once, by whoever finished the step.
struct StepResult {
  Outcome outcome = Outcome::kCancelled;
  Record record;              // of kOk and kCached
  std::string message;        // of kFailed; of kSkipped: which input failed
  double wall_s = 0;          // of kOk and kFailed
  uint64_t memory_bytes = 0;  // of kOk: what it added to the process; 0: not measured
  std::string worker = {};    // of kOk and kFailed in a run by several: "local#1 on host"
};

struct Report {
  std::vector<StepResult> steps;
  std::vector<std::string> warnings;
  double wall_s = 0;
  double saved_s = 0;          // what the cached results cost when they were made
  double critical_path_s = 0;  // longest chain of seconds among the steps that ran
  bool interrupted = false;

  [[nodiscard]] size_t Count(Outcome outcome) const;
  /// 0 everything is there, 1 a step failed, 130 interrupted.
  [[nodiscard]] int ExitCode() const;
};

/// Works out saved_s and critical_path_s from the steps.
void SumUp(const Plan& plan, Report& report);

/// The chain of steps that ran one after the other and took longest, in order: no number of lanes
/// would have made the run shorter than this.
[[nodiscard]] std::vector<StepId> CriticalPath(const Plan& plan, const Report& report);
/// How many steps ended how, and how long it took.
struct RunTotals {
  size_t steps = 0, cached = 0, ran = 0, failed = 0, skipped = 0, cancelled = 0;
  double saved_s = 0;
  double wall_s = 0;
  double critical_path_s = 0;
};
[[nodiscard]] RunTotals TotalsOf(const Report& report);
/// "312 steps: 280 cached (saved 3h12m), 31 run, 1 failed; 14m02s; critical path 11m40s".
[[nodiscard]] std::string SummaryLine(const RunTotals& totals);
[[nodiscard]] std::string SummaryLine(const Report& report);
/// Failed steps with their messages and what to do, one paragraph each; "" when there are none.
/// `command` is the command line that was run.
[[nodiscard]] std::string FailuresText(const Plan& plan, const Report& report,
                                       const std::string& command);
/// The "display" texts of steps whose result no other step uses, in plan order.
[[nodiscard]] std::string DisplayText(const Plan& plan, const Report& report);
/// {"steps":{"total","ran","cached","failed","skipped"},"wall_s","saved_s","critical_path_s",
/// "results":{step:{scalars}}}; also "failures":{step:message} and "warnings":[text] where there
/// are some. Cancelled steps count as skipped.
[[nodiscard]] std::string SummaryJson(const Plan& plan, const Report& report);

}  // namespace puzzle
