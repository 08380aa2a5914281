// What the engine itself costs: 100,000 steps and 400,000 edges through the flow graph of
// executor.cpp (node construction, counting of predecessors, hand-over between threads, the gate
// that steps pass), with steps that do nothing and no store. Planning, keys and files are not in
// it.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <vector>

#include "graph/run/executor.h"
#include "graph/run/flow.h"

namespace puzzle {
namespace {

constexpr StepId kSteps = 100'000;
constexpr StepId kInputs = 4;
constexpr int kRounds = 5;

/// Each step reads the results of four earlier ones, as far back as a thousand.
Plan MakeMesh(const NodeKind& kind) {
  Plan plan;
  plan.nodes.push_back({"mesh", "", &kind, 0, kSteps});
  plan.steps.resize(kSteps);
  uint32_t random = 1;
  for (StepId id = 0; id < kSteps; ++id) {
    plan.steps[id].inputs.emplace_back();
    for (StepId k = 0; k < kInputs && id > kInputs; ++k) {
      random = random * 1664525 + 1013904223;
      plan.steps[id].inputs[0].push_back(id - 1 - (random >> 8) % std::min<StepId>(id, 1000));
    }
  }
  plan.Link();
  return plan;
}

class NoWork final : public StepWork {
 public:
  Next Prepare(StepId) override { return Next::kHost; }
  Verdict Compute(StepId, Lane&) override { return Verdict::kFinish; }
  bool Waits(StepId) const override { return false; }
  void Finish(StepId) override { ++finished; }
  void Refuse(StepId, const std::string&) override {}
  Resources Demand(StepId) override { return {}; }
  std::vector<uint64_t> InputNumbers(StepId) const override { return {}; }

  std::atomic<size_t> finished{0};
};

int Run() {
  const NodeKind kind = Kind<int>("nothing", 1, "").Out("nothing");
  const Plan plan = MakeMesh(kind);
  Forecast forecast;
  forecast.steps.resize(kSteps);
  forecast.remaining_s.assign(kSteps, 1);
  size_t edges = 0;
  for (StepId id = 0; id < kSteps; ++id) edges += plan.predecessors(id).size();
  LocalLanesOptions options;
  options.devices.assign(1, Device{});
  LocalLanes lanes(std::move(options));
  std::vector<double> micros;
  for (int round = 0; round < kRounds; ++round) {
    NoWork work;
    const auto begin = std::chrono::steady_clock::now();
    RunFlow(plan, forecast, work, lanes, {});
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    if (work.finished != kSteps) return 1;
    micros.push_back(took.count() * 1e6 / kSteps);
  }
  std::sort(micros.begin(), micros.end());
  fmt::print(
      "engine alone, {} steps, {} edges: {:.2f} us per step (median of {}; {:.2f} to {:.2f})\n",
      kSteps, edges, micros[kRounds / 2], kRounds, micros.front(), micros.back());
  return 0;
}

}  // namespace
}  // namespace puzzle

int main() {
  return puzzle::Run();
}
