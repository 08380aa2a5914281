#include "graph/run/demand.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "graph/plan/key.h"
#include "graph/run/lanes.h"
#include "io/error.h"

namespace puzzle {
namespace {

bool OnLane(const NodeKind& kind) {
  return kind.needs != Needs::kHost;
}

uint64_t LargestRecord(const Plan& plan, const PlanNode& node, const Forecast& forecast,
                       Store& store) {
  uint64_t largest = 0;
  for (StepId id = node.first; id < node.first + node.count; ++id) {
    if (forecast.steps[id].fate == Fate::kHit) {
      largest = std::max(largest, RecordedMemory(forecast.steps[id].record));
    } else if (const auto past = PastOf(plan, id, store)) {
      largest = std::max(largest, RecordedMemory(*past));
    }
  }
  return largest;
}

/// Results by port, read when a kind asks.
class RecordFacts final : public InputFacts {
 public:
  using RecordOf = std::function<const Record&(StepId)>;

  RecordFacts(const Plan& plan, StepId step, const RecordOf& record_of)
      : ports_(plan.kind(step).ports), inputs_(plan.steps[step].inputs), record_of_(record_of) {}

  uint64_t Bytes(std::string_view port) const override {
    uint64_t bytes = 0;
    for (const StepId input : At(port)) bytes += record_of_(input).bytes;
    return bytes;
  }
  double Number(std::string_view port, std::string_view name) const override {
    const auto& inputs = At(port);
    if (inputs.size() != 1) return 0;
    const nlohmann::json record = RecordJson(record_of_(inputs[0]));
    const auto scalars = record.find("scalars");
    if (scalars == record.end()) return 0;
    const auto number = scalars->find(name);
    return number != scalars->end() && number->is_number() ? number->get<double>() : 0;
  }

 private:
  const std::vector<StepId>& At(std::string_view port) const {
    const auto spec = std::find_if(ports_.begin(), ports_.end(), [&](const PortSpec& candidate) {
      return candidate.name == port;
    });
    PUZZLE_CHECK(spec != ports_.end(), "the kind has no port \"" + std::string(port) + "\"");
    return inputs_[static_cast<size_t>(spec - ports_.begin())];
  }

  const std::vector<PortSpec>& ports_;
  const std::vector<std::vector<StepId>>& inputs_;
  const RecordOf& record_of_;
};

/// Whether a step may turn out to be a hit once its inputs are there.
bool MayKeepResult(const StepForecast& step, const std::string& name, Store& store) {
  return step.fate == Fate::kHit || (step.fate == Fate::kWait && store.LastKey(name).has_value());
}

}  // namespace

std::vector<uint64_t> RecordedPeaks(const Plan& plan, const Forecast& forecast, Store& store) {
  std::vector<uint64_t> peaks;
  for (const PlanNode& node : plan.nodes) {
    const auto begin = forecast.steps.begin() + node.first;
    const bool runs = OnLane(*node.kind) &&
                      std::any_of(begin, begin + node.count,
                                  [](const StepForecast& step) { return step.fate != Fate::kHit; });
    peaks.push_back(runs ? LargestRecord(plan, node, forecast, store) : 0);
  }
  return peaks;
}

Resources EstimateDemand(const Plan& plan, StepId step, const StepForecast& foreseen,
                         uint64_t recorded, const std::function<const Record&(StepId)>& record_of) {
  const NodeKind& kind = plan.kind(step);
  Resources demand;
  if (kind.resources) {
    demand =
        kind.resources(plan.steps[step].params.value.get(), RecordFacts(plan, step, record_of));
  }
  demand.memory_bytes = std::max({demand.memory_bytes, recorded, foreseen.memory_bytes});
  demand.shared_bytes = std::max(demand.shared_bytes, foreseen.shared_bytes);
  return demand;
}

std::string ComplaintAboutLanes(const Plan& plan, const Forecast& forecast,
                                const std::vector<Device>& devices, Store& store) {
  const auto together = LanesTogether(devices);
  for (StepId id = 0; id < plan.steps.size(); ++id) {
    if (!OnLane(plan.kind(id))) continue;
    const Resources wanted = AskedFor(plan.kind(id), plan.steps[id]);
    const auto serves = [&](const auto& lanes) {
      return (wanted.device_type.empty() || lanes.first == wanted.device_type) &&
             lanes.second >= wanted.lanes;
    };
    if (wanted.lanes <= 1 || std::any_of(together.begin(), together.end(), serves) ||
        MayKeepResult(forecast.steps[id], plan.steps[id].name, store))
      continue;
    return fmt::format(
        "{} takes {} lanes of {} together, and this run has {}: let it take fewer, or give the run "
        "more with --devices",
        plan.steps[id].name, wanted.lanes,
        wanted.device_type.empty() ? "one type of device" : wanted.device_type,
        LanesText(together));
  }
  return "";
}

}  // namespace puzzle
