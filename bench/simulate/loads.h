// What the steps of a graph cost on devices that are only modelled: sizes from nodes/workloads,
// rates from a roofline (nodes/cost). Thread-safe (pure functions).
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "bench/simulate/virtual_run.h"
#include "graph/plan/plan.h"
#include "graph/plan/workload.h"
#include "model/shape/config.h"
#include "nodes/cost/serving_costs.h"

namespace puzzle {

/// What a lane does in a second.
struct LaneRates {
  double flops = 0;       // products in fp32
  double bf16_flops = 0;  // products that may be faster
  /// Lanes that share cores: a step that is alone of its node has those of all of them.
  size_t sharing = 1;
  double memory_bytes = 0;      // of the device; 0: not looked at
  double host_bytes_per_s = 0;  // from the machine's memory to the device
};

/// A pass over `length` tokens of each of `batch` sequences through the model takes what the
/// roofline of nodes/cost says; a step gets the share `attained` of the operations a second that
/// this means. Throws Error when the device has no rate for fp32 or bf16.
[[nodiscard]] LaneRates RatesOf(const DeviceModel& device, const ModelConfig& model, int64_t batch,
                                int64_t length, double attained);

/// The steps of a plan, as RunVirtually takes them.
struct PlanLoads {
  std::vector<VirtualStep> steps;
  std::map<std::string, double> needs_bytes;  // nodes that do not fit the device -> what they need
};

/// `works` are the loads of the steps (graph/plan/workload.h). A step reads of states that were
/// kept those of its own layer, and an assembly of its blocks as many as it takes. What a step and
/// its inputs need beyond the device's memory goes there from the machine's memory while it
/// computes, all inputs once; whichever takes longer counts. `parts` divides steps of a node among
/// that many lanes without loss, by name: what a node would be if it could be divided. Throws Error
/// naming the nodes whose load is not known.
[[nodiscard]] PlanLoads LoadsOf(const Plan& plan, const std::vector<Workload>& works,
                                const LaneRates& rates,
                                const std::map<std::string, double>& parts = {});

}  // namespace puzzle
