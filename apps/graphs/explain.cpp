#include "apps/graphs/explain.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "apps/frame/output.h"
#include "graph/plan/explain.h"

namespace puzzle {

int ExplainCommand(const ExplainOptions& options, const Registry& registry, const Hooks& hooks) {
  const std::unique_ptr<Store> store = OpenStore(options.graph);
  const auto prepared = Prepare(options.graph, {}, registry, hooks, *store, /*for_run=*/false,
                                /*read=*/nullptr, kMostReadAtOnce);
  if (!prepared) return kExitBadInput;
  const auto& [plan, forecast] = *prepared;
  Diagnostics diagnostics;
  const std::vector<StepId> steps =
      MatchSteps(plan, options.step, "explain " + options.step, diagnostics);
  if (!diagnostics.empty()) {
    Say("{}", diagnostics.Text());
    return kExitBadInput;
  }
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const StepId step : steps) {
    const Explanation explanation = Explain(plan, forecast, step, *store);
    if (options.json) {
      list.push_back(ExplanationJson(plan, forecast, explanation));
    } else {
      Print("{}", ExplanationText(plan, forecast, explanation));
    }
  }
  if (options.json) {
    const auto replace = nlohmann::ordered_json::error_handler_t::replace;
    Print("{}\n", list.dump(2, ' ', false, replace));
  }
  return kExitDone;
}

void AddExplainVerb(Verbs& verbs, const Registry& registry, const Hooks& hooks) {
  auto options = std::make_shared<ExplainOptions>();
  CLI::App& verb = verbs.Add(
      "explain", "Say why steps would run: what changed, and where the change began.",
      "  puzzle explain configs/demo.json choice\n"
      "  puzzle explain configs/demo.json 'blocks[layer=3,variant=ffn:*]' --set blocks.lr=1e-3\n"
      "  puzzle explain configs/demo.json report --json",
      [options, &registry, &hooks] { return ExplainCommand(*options, registry, hooks); });
  options->graph.Declare(verb, /*with_store=*/true);
  verb.add_option("STEP", options->step, "a step, a node, or a pattern such as bld[layer=3,*]")
      ->required();
  verb.add_flag("--json", options->json, "print JSON");
}

}  // namespace puzzle
