#include "apps/graph_verb.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "apps/output.h"
#include "graph/view/draw.h"

namespace puzzle {

int GraphCommand(const GraphVerbOptions& options, const Registry& registry) {
  const auto plan = LoadPlan(options.graph, registry, {}, /*memo=*/{});
  if (!plan) return kExitBadInput;
  Print("{}", options.format == "dot" ? DrawDot(*plan, options.steps)
                                      : DrawMermaid(*plan, options.steps));
  return kExitDone;
}

void AddGraphVerb(Verbs& verbs, const Registry& registry) {
  auto options = std::make_shared<GraphVerbOptions>();
  CLI::App& verb = verbs.Add("graph", "Draw a graph as text for Graphviz or Mermaid.",
                             "  puzzle graph configs/demo.json\n"
                             "  puzzle graph configs/demo.json --format dot | dot -Tsvg > demo.svg",
                             [options, &registry] { return GraphCommand(*options, registry); });
  options->graph.Declare(verb, /*with_store=*/false);
  verb.add_option("--format", options->format, "dot or mermaid")
      ->check(CLI::IsMember({"dot", "mermaid"}))
      ->capture_default_str();
  verb.add_flag("--steps", options->steps, "one box per step instead of one per node");
}

}  // namespace puzzle
