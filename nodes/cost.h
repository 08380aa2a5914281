// `cost`: what every variant costs in parameters, memory and kv heads (counted, not measured).
#pragma once

#include "graph/node.h"
#include "nodes/artifacts.h"
#include "nodes/params.h"

namespace puzzle {

/// Costs of all `variants` in all layers of `parent`, and of the parent's own sub-blocks.
/// Resources: block_parameters, parameters (embedding and head included), memory_mib (weights and
/// KV cache in the scenario), kv_heads.
[[nodiscard]] CostTable CountCosts(const ModelConfig& parent,
                                   const std::vector<std::string>& variants, int64_t multiple_of,
                                   const Scenario& scenario);

[[nodiscard]] CostTable RunCost(const CostParams& params, const Inputs& inputs,
                                RunContext& context);

}  // namespace puzzle
