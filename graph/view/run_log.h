// What past runs did: `<store>/runs/<id>.jsonl`, one file per run that computed something, written
// when it ends. For people: plans and hits never depend on it. Thread-compatible.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "graph/run/report.h"

namespace puzzle {

/// What became of one step in a run.
struct RunStep {
  std::string step;
  std::string outcome;              // OutcomeName
  std::string key;                  // of its result; "" without one
  double wall_s = 0;                // of a step that ran
  std::string message;              // why it failed or was skipped
  std::vector<std::string> inputs;  // steps whose results a failed step had
  std::string worker;               // who ran it, in a run by several
};

struct RunLog {
  std::string id;       // "20261122T151204.123Z-4711": UTC and process
  std::string started;  // UTC, ISO 8601
  std::string graph;    // file
  std::string command;  // as typed
  std::string again;    // "puzzle run GRAPH --set ...": without selection and lanes
  std::string tool;     // version
  double wall_s = 0;
  int exit = 0;
  std::map<std::string, size_t> counts;  // by outcome
  std::vector<RunStep> steps;            // in plan order; empty in a list of runs
};

/// The steps of a report; the caller fills in the rest.
[[nodiscard]] RunLog MakeRunLog(const Plan& plan, const Report& report);

/// Writes a log into the store in `folder` and gives it its id; the oldest of more than
/// kMaxRunLogs go. Throws Error.
inline constexpr size_t kMaxRunLogs = 200;
void SaveRunLog(const std::string& folder, RunLog& log);

/// The runs of a store without their steps, oldest first. Damaged files are left out.
[[nodiscard]] std::vector<RunLog> ListRuns(const std::string& folder);
/// A whole log. `name` is an id, the unique beginning of one, or a number: 1 is the last run, 2 the
/// one before. Throws Error when there is no such run or its file is damaged.
[[nodiscard]] RunLog LoadRun(const std::string& folder, const std::string& name);
/// The newest run in which `step` failed after it was last finished; nullopt when there is none.
[[nodiscard]] std::optional<std::pair<RunLog, RunStep>> LastFailure(const std::string& folder,
                                                                    const std::string& step);

/// A line per run, for people.
[[nodiscard]] std::string RunListText(const std::vector<RunLog>& runs);
[[nodiscard]] std::string RunListJson(const std::vector<RunLog>& runs);

}  // namespace puzzle
