#include "apps/models/model_source.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <filesystem>

#include "apps/frame/load.h"
#include "graph/view/show.h"
#include "io/error.h"
#include "nodes/data/load_model.h"

namespace puzzle {

namespace {

namespace fs = std::filesystem;

/// The colon behind the graph's name; npos when there is none. Names of steps may have colons too.
size_t ColonBehindGraph(const std::string& model) {
  std::error_code failure;
  if (fs::exists(model, failure)) return std::string::npos;
  for (size_t at = model.find(':'); at != std::string::npos; at = model.find(':', at + 1))
    if (fs::is_regular_file(model.substr(0, at), failure)) return at;
  return std::string::npos;
}

StepId OnlyStep(const Plan& plan, const std::string& pattern, const std::string& model) {
  Diagnostics diagnostics;
  const std::vector<StepId> steps = MatchSteps(plan, pattern, model, diagnostics);
  if (!diagnostics.empty()) throw Error(diagnostics.Text());
  if (steps.size() == 1) return steps.front();
  throw Error(fmt::format("{}: {} steps are meant, {} and others; name one of them", model,
                          steps.size(), plan.steps[steps.front()].name));
}

Checkpoint ReadStep(const ModelSource& source, size_t colon, const Registry& registry,
                    const Hooks& hooks) {
  GraphOptions graph;
  graph.graph = source.model.substr(0, colon);
  graph.settings = source.settings;
  graph.store = source.store;
  const std::unique_ptr<Store> store = OpenStore(graph);
  const auto prepared = Prepare(graph, {}, registry, hooks, *store, /*for_run=*/false);
  if (!prepared) throw Error(graph.graph + ": is no graph that could run");
  const auto& [plan, forecast] = *prepared;
  const StepId step = OnlyStep(plan, source.model.substr(colon + 1), source.model);
  const std::string& name = plan.steps[step].name;
  if (const std::string& output = plan.kind(step).output; output != Checkpoint::kType)
    throw Error(fmt::format("{}: {} makes a {}, not a checkpoint", graph.graph, name, output));
  if (forecast.steps[step].fate != Fate::kHit)
    throw Error(fmt::format(
        "{}: {} has no result in {} ({}); make it with: puzzle run {} --until {}", graph.graph,
        name, graph.store, forecast.steps[step].reason, ShellWord(graph.graph), ShellWord(name)));
  return Checkpoint::Load(store->Open(forecast.steps[step].record));
}

}  // namespace

std::optional<std::string> StepOfGraph(const std::string& model) {
  const size_t colon = ColonBehindGraph(model);
  if (colon == std::string::npos) return std::nullopt;
  return model.substr(colon + 1);
}

Checkpoint ReadModel(const ModelSource& source, const Registry& registry, const Hooks& hooks) {
  const size_t colon = ColonBehindGraph(source.model);
  if (colon != std::string::npos) return ReadStep(source, colon, registry, hooks);
  return ReadCheckpoint(source.model,
                        [](const std::string& message) { spdlog::warn("{}", message); });
}

}  // namespace puzzle
