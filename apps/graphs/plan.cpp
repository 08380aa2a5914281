#include "apps/graphs/plan.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "apps/frame/output.h"
#include "graph/plan/stale.h"
#include "graph/store/store.h"
#include "graph/view/draw.h"

namespace puzzle {

int PlanCommand(const PlanVerbOptions& options, const Registry& registry, const Hooks& hooks) {
  const std::unique_ptr<Store> store = OpenStore(options.graph);
  auto prepared = Prepare(options.graph, options.selection, registry, hooks, *store,
                          /*for_run=*/false, /*read=*/nullptr, kMostReadAtOnce);
  if (!prepared) return kExitBadInput;
  const size_t lanes = options.lanes.Devices().size();
  const std::optional<Outlook> outlook = Foresee(hooks, lanes, *store, *prepared);
  const auto& [plan, forecast] = *prepared;
  for (const std::string& complaint : store->TakeComplaints()) Say("warning: {}\n", complaint);
  for (const StepForecast& step : forecast.steps) {
    if (!step.warning.empty()) Say("warning: {}\n", step.warning);
  }
  std::vector<std::shared_ptr<const Cause>> origins;
  if (options.json || options.verbose) origins = Origins(plan, forecast, *store);
  Print("{}", options.json ? ForecastJson(plan, forecast, lanes, origins, outlook)
                           : ForecastText(plan, forecast, options.all, lanes, origins, outlook));
  return kExitDone;
}

void AddPlanVerb(Verbs& verbs, const Registry& registry, const Hooks& hooks) {
  auto options = std::make_shared<PlanVerbOptions>();
  CLI::App& verb =
      verbs.Add("plan", "Say what a run would do: HIT, RUN or WAIT per step, with the reason.",
                "  puzzle plan configs/demo.json\n"
                "  puzzle plan configs/demo.json --set blocks.lr=3e-4 --all\n"
                "  puzzle plan configs/demo.json -v --until choice\n"
                "  puzzle plan configs/demo.json --json",
                [options, &registry, &hooks] { return PlanCommand(*options, registry, hooks); });
  options->graph.Declare(verb, /*with_store=*/true);
  options->lanes.Declare(verb);
  options->selection.Declare(verb);
  verb.add_flag("--all", options->all, "one line per step, also for steps that share a reason");
  verb.add_flag("-v,--verbose", options->verbose, "with the step where each change began");
  verb.add_flag("--json", options->json, "print JSON");
}

}  // namespace puzzle
