#include "nodes/cost/cost.h"

#include <fmt/format.h>

#include "io/error.h"
#include "model/block/counts.h"
#include "model/files/checkpoint_config.h"
#include "nodes/data/artifacts.h"

namespace puzzle {
namespace {

// Time of a part of the model; `name` is its VariantName, or empty for what is outside the blocks.
PassTimes TimeOf(const Latencies& latencies, const std::string& name,
                 const ServingScenario& scenario) {
  const ServingTimes& times = name.empty() ? latencies.outside : TimesOf(latencies, name);
  return {times.prefill.ms, static_cast<double>(scenario.generation_length) * times.decode.ms};
}

void CheckLoad(const ServingLoad& load, const ServingScenario& scenario) {
  if (load.batch == scenario.batch && load.prefill == scenario.prefill_length &&
      load.generation == scenario.generation_length) {
    return;
  }
  throw Error(
      fmt::format("the measured times are for batch {}, prefill {}, generation {}; the costs "
                  "are for {}, {}, {}",
                  load.batch, load.prefill, load.generation, scenario.batch,
                  scenario.prefill_length, scenario.generation_length));
}

// Turns counts into the columns of a table.
class Columns {
 public:
  Columns(const ServingScenario& scenario, const TimeSource& times)
      : scenario_(scenario), times_(times) {
    if (const auto* measured = std::get_if<Latencies>(&times)) CheckLoad(measured->load, scenario);
  }

  [[nodiscard]] std::string Timing() const {
    if (const auto* device = std::get_if<DeviceModel>(&times_)) {
      return fmt::format("roofline estimate for {}, not measured", device->name);
    }
    if (const auto* measured = std::get_if<Latencies>(&times_)) {
      return fmt::format("measured on {}", measured->device);
    }
    return "";
  }

  [[nodiscard]] std::vector<std::string> Names() const {
    std::vector<std::string> names = {"block_parameters", "parameters",     "active_parameters",
                                      "memory_mib",       "weight_mib",     "kv_mib",
                                      "kv_heads",         "prefill_gflops", "decode_gflops"};
    if (!Timing().empty()) names.insert(names.end(), {"prefill_ms", "decode_ms", "runtime_ms"});
    return names;
  }

  // `in_blocks` and `active`: the parameters that count as such; `name` as in TimeOf.
  [[nodiscard]] std::vector<double> Row(const ServingCosts& costs, double in_blocks, double active,
                                        const std::string& name) const {
    std::vector<double> row = {
        in_blocks,          costs.parameters,           active,
        costs.memory_mib(), costs.weight_mib,           costs.kv_mib,
        costs.kv_heads,     costs.prefill_flops * 1e-9, costs.decode_flops * 1e-9};
    if (const auto* device = std::get_if<DeviceModel>(&times_)) {
      AddTime(EstimateTime(costs, scenario_, *device), row);
    } else if (const auto* measured = std::get_if<Latencies>(&times_)) {
      AddTime(TimeOf(*measured, name, scenario_), row);
    }
    return row;
  }

 private:
  static void AddTime(const PassTimes& time, std::vector<double>& row) {
    row.insert(row.end(), {time.prefill_ms, time.decode_ms, time.prefill_ms + time.decode_ms});
  }

  const ServingScenario& scenario_;
  const TimeSource& times_;
};

ModelConfig ShapesOf(const CostParams& params, const Inputs& inputs) {
  return params.path.empty() ? inputs.Get<Checkpoint>("parent")->model.config
                             : ReadCheckpointConfig(params.path);
}

}  // namespace

CostTable CountCosts(const ModelConfig& parent, const std::vector<std::string>& variants,
                     int64_t multiple_of, const ServingScenario& scenario, CountingRules rules,
                     const TimeSource& times) {
  const Columns columns(scenario, times);
  CostTable table;
  table.parent = parent;
  table.scenario = scenario;
  table.timing = columns.Timing();
  table.resources = columns.Names();
  const auto head = static_cast<double>(parent.vocab_size * parent.hidden_size);
  const auto norm = static_cast<double>(block::CountNorm(parent));
  table.fixed = columns.Row(CountNonBlock(parent, scenario, rules), 0, head + norm, "");
  table.parent_total = table.fixed;
  const auto add = [&](int64_t layer, const std::string& name, const VariantSpec& spec, bool own) {
    std::vector<double> sum(table.resources.size());
    for (const VariantSpec& part : PartsOf(spec)) {
      const ServingCosts costs = CountSubBlock(part, parent, scenario, rules);
      const std::vector<double> row =
          columns.Row(costs, costs.parameters, costs.parameters, VariantName(part));
      for (size_t r = 0; r < sum.size(); ++r) sum[r] += row[r];
    }
    table.rows.push_back({layer, name, spec, own, std::move(sum)});
  };
  for (int64_t layer = 0; layer < parent.n_layers(); ++layer) {
    for (const SubBlock which : {SubBlock::kAttention, SubBlock::kFfn, SubBlock::kBoth}) {
      const VariantSpec own = ParentVariant(parent, layer, which);
      if (which != SubBlock::kBoth) {
        add(layer, VariantName(own), own, true);
        const std::vector<double>& costs = table.rows.back().costs;
        for (size_t r = 0; r < costs.size(); ++r) table.parent_total[r] += costs[r];
      }
      for (const std::string& name : variants) {
        const VariantSpec spec = ResolveVariant(name, parent, layer, multiple_of);
        if (WhichSubBlock(spec) == which && !(spec == own)) add(layer, name, spec, false);
      }
    }
  }
  return table;
}

CostTable RunCost(const CostParams& params, const Inputs& inputs, RunContext&) {
  const ServingScenario scenario{params.batch,   params.prefill,     params.generation,
                                 params.weights, params.activations, params.kv};
  const CountingRules rules =
      params.compat == "puzzletron" ? CountingRules::kPuzzletron : CountingRules::kExact;
  TimeSource times;
  if (inputs.Has("latencies")) {
    times = *inputs.Get<Latencies>("latencies");
  } else if (!params.device.empty()) {
    times = ReadDeviceModel(params.device);
  }
  return CountCosts(ShapesOf(params, inputs), params.variants, params.multiple_of, scenario, rules,
                    times);
}

}  // namespace puzzle
