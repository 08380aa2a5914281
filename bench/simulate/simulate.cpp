// How long a graph would take on machines that are not here: the real planner, the real queue,
// loads counted from shapes, devices by a roofline, time that is only added up. docs/scale.md has
// results.
//
//   build/simulate bench/simulate/llama.json --set vars.model=bench/simulate/llama-3.1-8b
//       --device configs/devices/h100.json --machines 8 --lanes 8
//   build/simulate configs/demo.json --lanes 2 --beside store     # this machine, and what it took
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <limits>
#include <span>

#include "apps/machine/machine_speed.h"
#include "bench/simulate/loads.h"
#include "bench/simulate/virtual_run.h"
#include "graph/language/spec.h"
#include "graph/plan/stale.h"
#include "graph/plan/step_loads.h"
#include "graph/store/store.h"
#include "io/error.h"
#include "io/hdf5_archive.h"
#include "io/quantity.h"
#include "model/files/checkpoint_config.h"
#include "nodes/catalogue.h"
#include "nodes/data/kinds.h"
#include "nodes/workloads.h"

namespace puzzle {
namespace {

constexpr double kGb = 1e9;
constexpr size_t kShownOfChain = 12;

struct Options {
  std::string graph;
  std::vector<std::string> settings;
  std::string device;  // "": this machine
  std::string beside;  // a store
  size_t machines = 1, lanes = 1;
  double attained = 0.5;
  int64_t batch = 8, length = 4096;  // of the pass that the roofline is taken of
  double device_gb = 80, host_gb_per_s = 50;
  double memory_gb = 1000, link_gb_per_s = 1, store_gb_per_s = 20;
  double step_s = 0.05;
  double fp32_tflops = 0, bf16_tflops = 0;  // of this machine; 0: measured
  std::vector<std::string> parts;           // NODE=N
};

void Declare(CLI::App& app, Options& o) {
  app.add_option("GRAPH", o.graph, "the graph")->required();
  app.add_option("--set", o.settings, "as in puzzle run")->allow_extra_args(false);
  app.add_option("--device", o.device, "a file of configs/devices; else this machine's cores");
  app.add_option("--beside", o.beside, "a store in which the graph ran: what its steps took");
  app.add_option("--machines", o.machines, "how many")->check(CLI::Range(1, 100'000));
  app.add_option("--lanes", o.lanes, "of each machine, one per device")->check(CLI::Range(1, 4096));
  app.add_option("--attained", o.attained, "share of the roofline that steps reach")
      ->capture_default_str();
  app.add_option("--batch", o.batch, "sequences in a pass")->capture_default_str();
  app.add_option("--length", o.length, "tokens of a sequence")->capture_default_str();
  app.add_option("--device-gb", o.device_gb, "memory of a device")->capture_default_str();
  app.add_option("--host-gb-per-s", o.host_gb_per_s, "from a machine's memory to a device")
      ->capture_default_str();
  app.add_option("--memory-gb", o.memory_gb, "of a machine, for what steps have read")
      ->capture_default_str();
  app.add_option("--link-gb-per-s", o.link_gb_per_s, "between a machine and the store")
      ->capture_default_str();
  app.add_option("--store-gb-per-s", o.store_gb_per_s, "of the store, for all machines together")
      ->capture_default_str();
  app.add_option("--step-s", o.step_s, "around each step: claim, look-up, publication")
      ->capture_default_str();
  app.add_option("--fp32-tflops", o.fp32_tflops,
                 "of this machine, without --device; else measured");
  app.add_option("--bf16-tflops", o.bf16_tflops, "likewise");
  app.add_option("--parts", o.parts,
                 "NODE=N: as if a step of it were divided among N lanes; may be repeated")
      ->allow_extra_args(false);
}

Plan PlanOf(const Options& o, const Registry& registry) {
  Diagnostics diagnostics;
  const auto text = std::make_shared<const JsonText>(JsonText::ParseFile(o.graph));
  const GraphSpec spec = ParseSpec(text, o.settings, diagnostics);
  PlanOptions options;  // without a digester of files: checkpoints need no weights
  options.layers_of = CountLayers;
  Plan plan = MakePlan(spec, registry, options, diagnostics);
  if (!diagnostics.empty()) throw Error(diagnostics.Text());
  return plan;
}

std::map<std::string, double> PartsOf(const Plan& plan, const std::vector<std::string>& texts) {
  std::map<std::string, double> parts;
  for (const std::string& text : texts) {
    const size_t equals = text.find('=');
    const std::string node = text.substr(0, equals);
    const bool known = std::any_of(plan.nodes.begin(), plan.nodes.end(),
                                   [&](const PlanNode& other) { return other.name == node; });
    const double count =
        equals == std::string::npos ? 0 : std::strtod(text.c_str() + equals + 1, nullptr);
    if (!known || !(count >= 1)) {
      throw Error(fmt::format("--parts {}: expected NODE=N with a node of the graph", text));
    }
    parts[node] = count;
  }
  return parts;
}

/// The checkpoint that the graph loads.
ModelConfig ModelOf(const Plan& plan) {
  for (StepId id = 0; id < plan.steps.size(); ++id) {
    if (plan.kind(id).name != "load_model") continue;
    return ReadCheckpointConfig(
        static_cast<const LoadModelParams*>(plan.steps[id].params.value.get())->path);
  }
  throw Error("--device: the graph loads no model, whose shape the roofline is about");
}

LaneRates Rates(const Options& o, const Plan& plan) {
  if (o.device.empty()) {
    MachineSpeed speed{o.fp32_tflops * 1e12, o.bf16_tflops * 1e12};
    if (speed.flops <= 0 || speed.bf16_flops <= 0) {
      const MachineSpeed measured = MeasureMachineSpeed();
      if (speed.flops <= 0) speed.flops = measured.flops;
      if (speed.bf16_flops <= 0) speed.bf16_flops = measured.bf16_flops;
    }
    const auto lanes = static_cast<double>(o.lanes);
    return {speed.flops / lanes, speed.bf16_flops / lanes, o.lanes};
  }
  LaneRates rates =
      RatesOf(ReadDeviceModel(o.device), ModelOf(plan), o.batch, o.length, o.attained);
  rates.memory_bytes = o.device_gb * kGb;
  rates.host_bytes_per_s = o.host_gb_per_s * kGb;
  return rates;
}

Plant PlantOf(const Options& o) {
  if (!o.device.empty()) {
    return {o.machines, o.lanes, o.memory_gb * kGb, o.link_gb_per_s * kGb, o.store_gb_per_s * kGb,
            o.step_s};
  }
  // A workload's own seconds hold reading and writing on the machine they were taken on.
  constexpr double kAll = std::numeric_limits<double>::infinity();
  return {1, o.lanes, kAll, kAll, kAll, 0};
}

Forecast Expect(const Plan& plan, const std::vector<VirtualStep>& steps) {
  Forecast forecast;
  forecast.steps.resize(plan.steps.size());
  for (StepId id = 0; id < plan.steps.size(); ++id)
    forecast.steps[id].expected_s = steps[id].seconds;
  AddUp(plan, forecast);
  return forecast;
}

/// The steps that no number of lanes would shorten, the longest ones first.
std::string LongestChain(const Plan& plan, const Forecast& forecast) {
  const auto shorter = [&](StepId a, StepId b) {
    return forecast.remaining_s[a] < forecast.remaining_s[b];
  };
  std::vector<std::pair<double, std::string>> links;
  std::span<const StepId> ways = plan.order;
  while (!ways.empty()) {
    const StepId at = *std::max_element(ways.begin(), ways.end(), shorter);
    links.emplace_back(forecast.steps[at].expected_s, plan.node_name(at));
    ways = plan.successors(at);
  }
  std::sort(links.begin(), links.end(), std::greater<>());
  if (links.size() > kShownOfChain) links.resize(kShownOfChain);
  std::vector<std::string> texts;
  for (const auto& [seconds, name] : links) {
    if (seconds >= 1) texts.push_back(fmt::format("{} {}", name, DurationText(seconds)));
  }
  return fmt::format("{}", fmt::join(texts, ", "));
}

void PrintNodes(const Plan& plan, const VirtualRun& run, Store* store) {
  fmt::print("\n{:<22}{:>7}{:>11}{:>11}{:>10}{:>10}{}\n", "node", "steps", "computing", "longest",
             "from", "until", store != nullptr ? "    measured" : "");
  for (const PlanNode& node : plan.nodes) {
    double sum_s = 0, longest_s = 0, measured_s = 0, from_s = run.makespan_s, until_s = 0;
    for (StepId id = node.first; id < node.first + node.count; ++id) {
      const VirtualRun::Span& span = run.spans[id];
      sum_s += span.ended_s - span.began_s;
      longest_s = std::max(longest_s, span.ended_s - span.began_s);
      from_s = std::min(from_s, span.taken_s);
      until_s = std::max(until_s, span.published_s);
      if (store == nullptr) continue;
      if (const auto key = store->LastKey(plan.steps[id].name)) {
        if (const auto record = store->FindRecord(*key)) measured_s += record->wall_s;
      }
    }
    if (node.count == 0) continue;
    fmt::print("{:<22}{:>7}{:>11}{:>11}{:>10}{:>10}{}\n", node.name, node.count,
               DurationText(sum_s), DurationText(longest_s), DurationText(from_s),
               DurationText(until_s),
               store != nullptr ? fmt::format("{:>12}", DurationText(measured_s)) : "");
  }
}

int Run(const Options& o) {
  const Registry registry(PuzzleKinds());
  const Plan plan = PlanOf(o, registry);
  const std::vector<Workload> works = LoadsOfSteps(plan, WorkloadOf);
  const LaneRates rates = Rates(o, plan);
  const PlanLoads loads = LoadsOf(plan, works, rates, PartsOf(plan, o.parts));
  const Plant plant = PlantOf(o);
  const Forecast forecast = Expect(plan, loads.steps);
  const VirtualRun run = RunVirtually(plan, forecast, loads.steps, plant);
  const size_t lanes = plant.machines * plant.lanes;

  std::unique_ptr<Store> store;
  if (!o.beside.empty()) {
    store = std::make_unique<Store>(o.beside, Hdf5Format());
    store->WorkOn(o.graph);
  }
  fmt::print(
      "{} steps on {} lanes of {} machines; a lane does {:.3g} TFLOP/s in fp32, {:.3g} in "
      "bf16\n",
      plan.steps.size(), lanes, plant.machines, rates.flops / 1e12, rates.bf16_flops / 1e12);
  fmt::print("makespan        {}\n", DurationText(run.makespan_s));
  fmt::print("lanes           compute {:.1f} %, wait for data {:.1f} %, idle {:.1f} %\n",
             100 * run.BusyShare(lanes), 100 * run.WaitingShare(lanes), 100 * run.IdleShare(lanes));
  fmt::print("computing       {} of lanes\n", DurationText(run.busy_s));
  fmt::print("store           {:.3g} GB read, {:.3g} GB written\n", run.read_bytes / kGb,
             run.written_bytes / kGb);
  fmt::print("longest chain   {}: {}\n", DurationText(forecast.Estimate(SIZE_MAX)),
             LongestChain(plan, forecast));
  for (const auto& [node, bytes] : loads.needs_bytes) {
    fmt::print("does not fit    {} needs {:.0f} GB of a device of {:.0f} GB\n", node, bytes / kGb,
               rates.memory_bytes / kGb);
  }
  PrintNodes(plan, run, store.get());
  return 0;
}

}  // namespace
}  // namespace puzzle

int main(int argc, char** argv) {
  CLI::App app("Runs a graph in virtual time on machines that are only modelled.");
  puzzle::Options options;
  puzzle::Declare(app, options);
  CLI11_PARSE(app, argc, argv);
  try {
    return puzzle::Run(options);
  } catch (const puzzle::Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 2;
  }
}
