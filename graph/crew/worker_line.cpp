#include "graph/crew/worker_line.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/fingerprint.h"

namespace puzzle {
namespace {

using nlohmann::json;

constexpr char kHello[] = "hello";

/// An object, else a discarded value.
json ParseObject(std::string_view line) {
  json value = json::parse(line, nullptr, /*allow_exceptions=*/false);
  return value.is_object() ? value : json(json::value_t::discarded);
}

}  // namespace

std::string HelloLine(const WorkerHello& hello) {
  const json line = {{"event", kHello},    {"host", hello.host}, {"process", hello.process},
                     {"tool", hello.tool}, {"plan", hello.plan}, {"clock_s", hello.clock_s}};
  return line.dump(-1, ' ', false, json::error_handler_t::replace) + '\n';
}

std::optional<WorkerHello> ParseHello(std::string_view line) {
  const json value = ParseObject(line);
  if (value.is_discarded()) return std::nullopt;
  try {
    if (value.value("event", "") != kHello) return std::nullopt;
    return WorkerHello{value.at("host"), value.at("process"), value.at("tool"), value.at("plan"),
                       value.at("clock_s")};
  } catch (const json::exception&) {
    return std::nullopt;
  }
}

std::optional<WorkerEvent> ParseWorkerEvent(std::string_view line) {
  const json value = ParseObject(line);
  if (value.is_discarded()) return std::nullopt;
  try {
    WorkerEvent event;
    const auto text = [&](const char* name) { return value.value(name, std::string()); };
    event.event = value.at("event");
    event.step = text("step");
    event.lane = text("lane");
    event.reason = text("reason");
    event.note = text("note");
    event.outcome = text("outcome");
    event.message = text("message");
    event.next = text("next");
    event.waits_for = text("for");
    event.key = text("key");
    // What a program on another machine writes becomes bars, estimates and whole numbers of bytes.
    const auto number = [&](const char* name, double most) {
      return std::clamp(value.value(name, 0.0), 0.0, most);
    };
    event.fraction = number("fraction", 1);
    event.begun = number("begun", 1);
    event.wall_s = number("wall_s", 1e9);
    event.memory_mib = number("memory_mib", 1e9);
    event.exit = value.value("exit", 0);
    return event;
  } catch (const json::exception&) {
    return std::nullopt;
  }
}

std::string PlanMark(const Plan& plan) {
  Fingerprint fingerprint;
  for (StepId id = 0; id < plan.steps.size(); ++id) {
    fingerprint.AddField(plan.steps[id].name);
    fingerprint.AddField(plan.kind(id).name);
    fingerprint.AddField(std::to_string(plan.kind(id).version));
    fingerprint.AddField(plan.steps[id].params.keyed);
    for (const auto& port : plan.steps[id].inputs) {
      fingerprint.AddField(std::to_string(port.size()));
      for (const StepId input : port) fingerprint.AddField(std::to_string(input));
    }
  }
  return fingerprint.Hex();
}

}  // namespace puzzle
