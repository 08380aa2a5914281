#include "apps/graphs/graph_verb.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>

#include "apps/frame/output.h"
#include "graph/view/draw.h"
#include "graph/view/makeflow.h"
#include "graph/view/show.h"
#include "io/spawn.h"

namespace puzzle {
namespace {

/// What makes one step of the graph, from whatever folder.
std::string StepCommand(const GraphOptions& graph, const std::string& step) {
  std::vector<std::string> words = {OwnProgram()};
  for (std::string& word : graph.Arguments()) words.push_back(std::move(word));
  for (const char* word : {"--quiet", "--only"}) words.emplace_back(word);
  words.push_back(step);
  return fmt::format("(cd {} && exec {})", ShellWord(std::filesystem::current_path().string()),
                     ShellCommand(words));
}

std::string Makeflow(const GraphOptions& graph, const Plan& plan) {
  NeedGraphFile(graph, "a rule per step");
  return MakeflowJson(plan, [&](const std::string& step) { return StepCommand(graph, step); });
}

}  // namespace

int GraphCommand(const GraphVerbOptions& options, const Registry& registry, const Hooks& hooks) {
  const auto plan = LoadPlan(options.graph, registry, hooks, kNoMemo);
  if (!plan) return kExitBadInput;
  Print("{}", options.format == "dot"        ? DrawDot(*plan, options.steps)
              : options.format == "makeflow" ? Makeflow(options.graph, *plan)
                                             : DrawMermaid(*plan, options.steps));
  return kExitDone;
}

void AddGraphVerb(Verbs& verbs, const Registry& registry, const Hooks& hooks) {
  auto options = std::make_shared<GraphVerbOptions>();
  CLI::App& verb =
      verbs.Add("graph", "Draw a graph as text for Graphviz or Mermaid, or as rules for Makeflow.",
                "  puzzle graph configs/demo.json\n"
                "  puzzle graph configs/demo.json --format dot | dot -Tsvg > demo.svg\n"
                "  puzzle graph configs/demo.json --format makeflow > demo.makeflow\n"
                "  makeflow --json -T local demo.makeflow      # or -T wq, slurm, ...",
                [options, &registry, &hooks] { return GraphCommand(*options, registry, hooks); });
  options->graph.Declare(verb, /*with_store=*/true);
  verb.add_option("--format", options->format,
                  "dot, mermaid, or makeflow: a rule per step for that engine")
      ->check(CLI::IsMember({"dot", "mermaid", "makeflow"}))
      ->capture_default_str();
  verb.add_flag("--steps", options->steps, "one box per step instead of one per node");
}

}  // namespace puzzle
