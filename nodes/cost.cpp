#include "nodes/cost.h"

#include <algorithm>

#include "io/error.h"

namespace puzzle {

namespace {

std::vector<double> CostsOf(const VariantSpec& spec, const ModelConfig& config,
                            const Scenario& scenario) {
  const auto parameters = static_cast<double>(CountParameters(spec, config));
  const auto* attention = std::get_if<AttentionSpec>(&spec);
  const double kv_heads = attention != nullptr ? static_cast<double>(attention->n_kv_heads) : 0.0;
  return {parameters, parameters, MemoryMib(spec, config, scenario), kv_heads};
}

}  // namespace

CostTable CountCosts(const ModelConfig& parent, const std::vector<std::string>& variants,
                     int64_t multiple_of, const Scenario& scenario) {
  CostTable table;
  table.parent = parent;
  table.resources = {"block_parameters", "parameters", "memory_mib", "kv_heads"};
  const auto outside = static_cast<double>(CountNonBlockParameters(parent));
  table.fixed = {0, outside, outside * scenario.weight_bytes / (1 << 20), 0};
  table.parent_total = table.fixed;
  for (int64_t layer = 0; layer < parent.n_layers(); ++layer) {
    for (SubBlock which : {SubBlock::kAttention, SubBlock::kFfn}) {
      const VariantSpec own = ParentVariant(parent, layer, which);
      const std::vector<double> own_costs = CostsOf(own, parent, scenario);
      for (size_t r = 0; r < own_costs.size(); ++r) table.parent_total[r] += own_costs[r];
      table.rows.push_back({layer, VariantName(own), own, true, own_costs});
      for (const std::string& name : variants) {
        if (!name.starts_with(SubBlockName(which))) continue;
        const VariantSpec spec = ResolveVariant(name, parent, layer, multiple_of);
        if (spec == own) continue;
        table.rows.push_back({layer, name, spec, false, CostsOf(spec, parent, scenario)});
      }
    }
  }
  return table;
}

CostTable RunCost(const CostParams& params, const Inputs& inputs, RunContext&) {
  auto bytes = [](const std::string& dtype) {
    return dtype == "fp32" ? 4.0 : dtype == "fp8" ? 1.0 : 2.0;
  };
  const Scenario scenario{params.batch, params.sequence, bytes(params.weights), bytes(params.kv)};
  return CountCosts(inputs.Get<Checkpoint>("parent")->model.config, params.variants,
                    params.multiple_of, scenario);
}

}  // namespace puzzle
