#include "graph/demand.h"

#include <algorithm>

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
    } else if (const auto key = store.LastKey(plan.steps[id].name)) {
      if (const auto record = store.FindRecord(*key)) {
        largest = std::max(largest, RecordedMemory(*record));
      }
    }
  }
  return largest;
}

}  // namespace

std::vector<Resources> EstimateDemand(const Plan& plan, const Forecast& forecast, Store& store) {
  std::vector<Resources> demand(plan.steps.size());
  for (const PlanNode& node : plan.nodes) {
    if (!OnLane(*node.kind)) continue;
    const auto begin = forecast.steps.begin() + node.first;
    if (std::all_of(begin, begin + node.count,
                    [](const StepForecast& step) { return step.fate == Fate::kHit; })) {
      continue;
    }
    const uint64_t recorded = LargestRecord(plan, node, forecast, store);
    for (StepId id = node.first; id < node.first + node.count; ++id) {
      if (node.kind->resources) {
        demand[id] = node.kind->resources(plan.steps[id].params.value.get());
      }
      demand[id].memory_bytes = std::max(demand[id].memory_bytes, recorded);
    }
  }
  return demand;
}

}  // namespace puzzle
