// What a worker writes for its front: a line of JSON per event, the first one about itself. Values;
// thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "graph/plan/plan.h"

namespace puzzle {

/// The first line of a worker.
struct WorkerHello {
  std::string host;     // as its users call it
  std::string process;  // as claims in the store call it: "process 123 on host"
  std::string tool;     // version of the program
  std::string plan;     // PlanMark
  double clock_s = 0;   // seconds since 1970 by its clock
};
[[nodiscard]] std::string HelloLine(const WorkerHello& hello);
[[nodiscard]] std::optional<WorkerHello> ParseHello(std::string_view line);

/// A later line, as `graph/view/events` writes them. Members that an event lacks are empty.
struct WorkerEvent {
  std::string event, step, lane, reason, note, outcome, message, next, waits_for, key;
  double fraction = 0, begun = 0, wall_s = 0, memory_mib = 0;
  int exit = 0;
};
/// nullopt for what is no such line.
[[nodiscard]] std::optional<WorkerEvent> ParseWorkerEvent(std::string_view line);

/// Equal for plans with the same steps, inputs, parameters and versions of kinds; files count by
/// content, facts about the machine do not.
[[nodiscard]] std::string PlanMark(const Plan& plan);

}  // namespace puzzle
