#include "apps/shell/shell.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <set>

#include "apps/frame/load.h"
#include "apps/frame/output.h"
#include "apps/shell/complete.h"
#include "apps/shell/manual.h"
#include "graph/store/inventory.h"
#include "io/error.h"
#include "io/hdf5_archive.h"
#include "io/json_text.h"

namespace puzzle {
namespace {

/// A graph as far as it can be read; no diagnostics.
std::optional<Plan> PeekAt(const std::string& path, const Registry& registry, const Hooks& hooks) {
  try {
    Diagnostics unsaid;
    PlanOptions options;
    options.layers_of = hooks.layers_of;
    const auto text = std::make_shared<const JsonText>(JsonText::ParseFile(path));
    return MakePlan(ParseSpec(text, {}, unsaid), registry, options, unsaid);
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::vector<std::string> StepsOf(const Plan& plan, const std::string& typed) {
  std::vector<std::string> names;
  const std::string node_typed = typed.substr(0, typed.find('['));
  for (const PlanNode& node : plan.nodes) {
    names.push_back(node.name);
    if (node.name != node_typed) continue;
    for (StepId id = node.first; id < node.first + node.count; ++id)
      names.push_back(plan.steps[id].name);
  }
  return names;
}

std::vector<std::string> SettingsOf(const std::string& path, const Plan& plan) {
  std::vector<std::string> targets;
  const JsonText text = JsonText::ParseFile(path);
  const auto vars = text.value().find("vars");
  if (vars != text.value().end() && vars->is_object())
    for (const auto& [name, value] : vars->items()) targets.push_back("vars." + name + "=");
  for (const PlanNode& node : plan.nodes) {
    if (node.kind == nullptr) continue;
    for (const ParamSpec& param : node.kind->params)
      targets.push_back(node.name + "." + param.name + "=");
  }
  return targets;
}

std::vector<std::string> ResultsIn(const std::string& folder) {
  std::set<std::string> names;
  try {
    Store store(folder, Hdf5Format());
    for (const StoredResult& result : TakeInventory(store).results)
      names.emplace(result.record.step);
  } catch (const Error&) {
  }
  return {names.begin(), names.end()};
}

Known WhatIsKnown(const Registry& registry, const Hooks& hooks) {
  Known known;
  for (const NodeKind& kind : registry.kinds()) known.kinds.push_back(kind.name);
  known.steps = [&](const std::string& graph, const std::string& typed) {
    const auto plan = PeekAt(graph, registry, hooks);
    return plan ? StepsOf(*plan, typed) : std::vector<std::string>();
  };
  known.settings = [&](const std::string& graph) {
    const auto plan = PeekAt(graph, registry, hooks);
    return plan ? SettingsOf(graph, *plan) : std::vector<std::string>();
  };
  known.results = ResultsIn;
  return known;
}

}  // namespace

std::optional<int> AnswerShell(int argc, char** argv, const CLI::App& app, const Registry& registry,
                               const Hooks& hooks) {
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "manual" && argc == 2) {
    Print("{}", ManualPage(app, PUZZLE_VERSION));
    return kExitDone;
  }
  if (what != "complete") return std::nullopt;
  for (const std::string& word :
       Complete(app, {argv + 2, argv + argc}, WhatIsKnown(registry, hooks)))
    Print("{}\n", word);
  return kExitDone;
}

}  // namespace puzzle
