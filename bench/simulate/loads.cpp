#include "bench/simulate/loads.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <set>

#include "io/error.h"
#include "nodes/train/kinds.h"

namespace puzzle {
namespace {

/// Sub-blocks of a layer that an assembly takes.
constexpr double kTakenOfALayer = 2;

/// The layer that a step is about: its own, or that of the block that it judges.
std::optional<int64_t> LayerOf(const Plan& plan, StepId id) {
  const Step& step = plan.steps[id];
  if (plan.kind(id).name == "bld") {
    return static_cast<const BldParams*>(step.params.value.get())->layer;
  }
  if (plan.kind(id).name != "score") return std::nullopt;
  for (const StepId input : plan.predecessors(id)) {
    if (plan.kind(input).name == "bld") return LayerOf(plan, input);
  }
  return std::nullopt;
}

class Loads {
 public:
  Loads(const Plan& plan, const std::vector<Workload>& works, const LaneRates& rates,
        const std::map<std::string, double>& parts)
      : plan_(plan), works_(works), rates_(rates), parts_(parts) {
    for (StepId id = 0; id < plan.steps.size(); ++id) {
      if (const auto layer = LayerOf(plan, id)) layers_ = std::max(layers_, *layer + 1);
    }
  }

  PlanLoads Make() {
    CheckKnown();
    PlanLoads loads;
    for (StepId id = 0; id < plan_.steps.size(); ++id) {
      VirtualStep step;
      step.seconds = Seconds(id, loads.needs_bytes);
      step.reads = Reads(id);
      step.result_bytes = works_[id].disk_bytes;
      loads.steps.push_back(std::move(step));
    }
    return loads;
  }

 private:
  void CheckKnown() const {
    std::set<std::string> unknown;
    for (StepId id = 0; id < plan_.steps.size(); ++id) {
      if (!works_[id].is_known) unknown.insert(plan_.node_name(id));
    }
    if (!unknown.empty()) {
      throw Error(fmt::format("nobody knows how much work these nodes are: {}; leave them out",
                              fmt::join(unknown, ", ")));
    }
  }

  double Seconds(StepId id, std::map<std::string, double>& needs_bytes) const {
    const Workload& work = works_[id];
    const auto sharing = static_cast<double>(rates_.sharing);
    const double alone = sharing / std::min(sharing, static_cast<double>(plan_.node(id).count));
    double seconds = (work.flops / rates_.flops + work.bf16_flops / rates_.bf16_flops) / alone;
    const double needs = work.memory_bytes + work.shared_bytes;
    const bool on_device = plan_.kind(id).needs != Needs::kHost && rates_.memory_bytes > 0;
    if (on_device && needs > rates_.memory_bytes) {
      double& most = needs_bytes[plan_.node_name(id)];
      most = std::max(most, needs);
      seconds = std::max(seconds, work.shared_bytes / rates_.host_bytes_per_s);
    }
    const auto part = parts_.find(plan_.node_name(id));
    return (seconds + work.host_s) / (part != parts_.end() ? part->second : 1);
  }

  [[nodiscard]] std::vector<Cargo> Reads(StepId id) const {
    std::vector<Cargo> reads;
    const std::optional<int64_t> layer = LayerOf(plan_, id);
    for (const StepId input : plan_.predecessors(id)) {
      const std::string& kind = plan_.kind(input).name;
      Cargo cargo{uint64_t{input} << 16, works_[input].disk_bytes};
      if (kind == "activations" && layer) {
        cargo.content += static_cast<uint64_t>(*layer) + 1;
        cargo.bytes /= static_cast<double>(layers_ + 1);
      } else if (kind == "bld" && plan_.kind(id).name == "assemble") {
        cargo.bytes *= std::min(1.0, kTakenOfALayer * static_cast<double>(layers_) /
                                         static_cast<double>(plan_.node(input).count));
      }
      reads.push_back(cargo);
    }
    return reads;
  }

  const Plan& plan_;
  const std::vector<Workload>& works_;
  const LaneRates& rates_;
  const std::map<std::string, double>& parts_;
  int64_t layers_ = 0;
};

}  // namespace

LaneRates RatesOf(const DeviceModel& device, const ModelConfig& model, int64_t batch,
                  int64_t length, double attained) {
  const auto rate = [&](const char* type) {
    ServingScenario pass;
    pass.batch = batch;
    pass.prefill_length = length;
    pass.generation_length = 0;
    pass.weights = pass.activations = pass.kv = type;
    const ServingCosts costs = CountModel(model, pass);
    return attained * costs.prefill_flops / (EstimateTime(costs, pass, device).prefill_ms / 1e3);
  };
  LaneRates rates;
  rates.flops = rate("fp32");
  rates.bf16_flops = rate("bf16");
  return rates;
}

PlanLoads LoadsOf(const Plan& plan, const std::vector<Workload>& works, const LaneRates& rates,
                  const std::map<std::string, double>& parts) {
  return Loads(plan, works, rates, parts).Make();
}

}  // namespace puzzle
