// `cost`: what every variant costs to serve (counted), and how long it takes (measured by
// `latency`, or estimated for a device that is not at hand).
#pragma once

#include <variant>

#include "graph/kind/kind.h"
#include "nodes/cost/artifacts.h"
#include "nodes/cost/kinds.h"
#include "nodes/cost/latency.h"
#include "nodes/cost/serving_costs.h"

namespace puzzle {

/// Where times come from; nothing: there are none.
using TimeSource = std::variant<std::monostate, DeviceModel, Latencies>;

/// Costs of all `variants` in all layers of `parent`, and of the parent's own sub-blocks; a whole
/// block costs what its sub-blocks do.
/// Resources: block_parameters, parameters (embedding and head included), active_parameters (that a
/// token meets: no embedding table), memory_mib = weight_mib + kv_mib, kv_heads, prefill_gflops,
/// decode_gflops; with a source of times prefill_ms, decode_ms (of all generated tokens) and their
/// sum runtime_ms, and `timing` says whether they are estimates. Throws Error when measured times
/// are for another load, or lack a shape.
[[nodiscard]] CostTable CountCosts(const ModelConfig& parent,
                                   const std::vector<std::string>& variants, int64_t multiple_of,
                                   const ServingScenario& scenario,
                                   CountingRules rules = CountingRules::kExact,
                                   const TimeSource& times = {});

[[nodiscard]] CostTable RunCost(const CostParams& params, const Inputs& inputs,
                                RunContext& context);

}  // namespace puzzle
