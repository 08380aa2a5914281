#include "nodes/search/sweep.h"

#include <algorithm>

#include "io/error.h"
#include "nodes/cost/artifacts.h"
#include "nodes/measure/artifacts.h"
#include "nodes/search/cost_tables.h"
#include "nodes/search/frontier.h"

namespace puzzle {
namespace {

FrontierArtifact::Point PointOf(const FrontierPoint& point, const VariantTable& table) {
  FrontierArtifact::Point result{
      point.budget.Text(), point.method, point.batch, SolveStatusName(point.solution.status), 0, 0,
      point.dominated,     point.totals, {}};
  if (point.variants.empty()) return result;
  result.objective = point.solution.objective;
  result.bound = point.solution.bound;
  for (size_t g = 0; g < point.variants.size(); ++g) {
    result.variants.push_back(table.groups[g].variants[point.variants[g]].name);
  }
  return result;
}

}  // namespace

FrontierArtifact RunSweep(const SweepParams& params, const Inputs& inputs, RunContext& context) {
  std::vector<CostTable> costs;
  for (const auto& input : inputs.List<CostTable>("costs")) costs.push_back(*input.Load());
  std::vector<Score> scores;
  for (const auto& input : inputs.List<Score>("scores")) scores.push_back(*input.Load());
  std::vector<VariantTable> tables;
  for (const CostTable& table : ByBatch(costs)) tables.push_back(TableOf(table, scores).table);
  SweepRequest request{
      ReadBudgetRange(params.budgets), ReadObjective(params.objective), {}, params.baselines};
  request.settings.time_limit_s = params.time_limit_s;
  request.settings.seed = static_cast<uint64_t>(params.seed);
  request.settings.should_stop = [&context] {
    context.Poll(0);  // throws when the user asked to stop
    return false;
  };
  const Frontier frontier = Sweep(tables, request, params.min, params.max,
                                  [&](const std::string& text) { context.Warn(text); });
  FrontierArtifact artifact;
  artifact.resource = frontier.resource;
  for (const auto* points : {&frontier.points, &frontier.baselines}) {
    for (const FrontierPoint& point : *points) {
      const auto own = std::find_if(tables.begin(), tables.end(), [&](const VariantTable& table) {
        return table.batch == point.batch;
      });
      PUZZLE_CHECK(own != tables.end(), "a point of no table");
      artifact.points.push_back(PointOf(point, *own));
    }
  }
  artifact.table = FrontierTable(frontier);
  artifact.picture_svg = FrontierSvg(frontier);
  return artifact;
}

}  // namespace puzzle
