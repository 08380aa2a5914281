#include "apps/graphs/validate.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "apps/frame/load.h"
#include "apps/frame/output.h"

namespace puzzle {

int ValidateCommand(const ValidateOptions& options, const Registry& registry, const Hooks& hooks) {
  int status = kExitDone;
  for (const std::string& path : options.graphs) {
    GraphOptions graph;
    graph.graph = path;
    graph.settings = options.settings;
    if (const auto plan = LoadPlan(graph, registry, hooks, kNoMemo)) {
      Print("{}: good, {} node{}, {} step{}\n", path, plan->nodes.size(),
            plan->nodes.size() == 1 ? "" : "s", plan->steps.size(),
            plan->steps.size() == 1 ? "" : "s");
    } else {
      status = kExitBadInput;
    }
  }
  return status;
}

void AddValidateVerb(Verbs& verbs, const Registry& registry, const Hooks& hooks) {
  auto options = std::make_shared<ValidateOptions>();
  CLI::App& verb = verbs.Add(
      "validate", "Check graphs: syntax, kinds, inputs, parameters, files, cycles.",
      "  puzzle validate configs/*.json\n"
      "  puzzle validate configs/stories3m.json --set vars.data=/data",
      [options, &registry, &hooks] { return ValidateCommand(*options, registry, hooks); });
  verb.add_option("GRAPH", options->graphs, "graphs, JSON files")->required();
  verb.add_option("--set", options->settings, "as for run")
      ->allow_extra_args(false)
      ->type_name("TARGET=VALUE");
}

}  // namespace puzzle
