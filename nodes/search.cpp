#include "nodes/search.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "io/error.h"
#include "nodes/baselines.h"

namespace puzzle {

using nlohmann::json;

namespace {

// 900 or "70%" of `parent_total`.
double LimitValue(const json& value, double parent_total, const std::string& where) {
  if (value.is_number()) return value.get<double>();
  if (value.is_string()) {
    const std::string text = value;
    double percent = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), percent);
    if (error == std::errc() && std::string_view(end) == "%" && percent >= 0)
      return percent / 100.0 * parent_total;
  }
  throw Error(fmt::format("{}: expected a number or a percentage such as \"70%\", got {}", where,
                          value.dump()));
}

size_t ResourceIndex(const CostTable& costs, const std::string& resource) {
  const auto it = std::find(costs.resources.begin(), costs.resources.end(), resource);
  if (it == costs.resources.end())
    throw Error(fmt::format("unknown resource \"{}\"; there are {}", resource,
                            fmt::join(costs.resources, ", ")));
  return static_cast<size_t>(it - costs.resources.begin());
}

std::vector<int> Solve(const SearchParams& params, const MipProblem& problem, Choice& choice) {
  if (params.method == "mip") {
    MipOptions options;
    options.time_limit_s = params.time_limit_s;
    const MipSolution solution = SolveMip(problem, options);
    choice.status = SolveStatusName(solution.status);
    choice.bound = solution.bound;
    choice.gap = solution.gap;
    if (solution.choice.empty())
      throw Error(fmt::format("no child found ({}): {}", choice.status, solution.explanation));
    return solution.choice;
  }
  choice.status = params.method;
  const auto found = params.method == "uniform"
                         ? BestUniform(problem)
                         : RandomChoice(problem, static_cast<uint64_t>(params.seed));
  if (!found) throw Error(fmt::format("no {} child is within the limits", params.method));
  return *found;
}

}  // namespace

std::vector<MipLimit> ReadLimits(const json& min, const json& max, const CostTable& costs) {
  std::vector<MipLimit> limits;
  auto limit_for = [&](const std::string& resource) -> MipLimit& {
    for (MipLimit& limit : limits)
      if (limit.resource == resource) return limit;
    limits.push_back({resource});
    limits.back().fixed = costs.fixed[ResourceIndex(costs, resource)];
    return limits.back();
  };
  for (const auto& [resource, value] : max.items()) {
    const size_t index = ResourceIndex(costs, resource);
    limit_for(resource).high = LimitValue(value, costs.parent_total[index], "max." + resource);
  }
  for (const auto& [resource, value] : min.items()) {
    const size_t index = ResourceIndex(costs, resource);
    limit_for(resource).low = LimitValue(value, costs.parent_total[index], "min." + resource);
  }
  for (const MipLimit& limit : limits)
    if (limit.low > limit.high)
      throw Error(fmt::format("{}: min {} is above max {}", limit.resource, limit.low, limit.high));
  return limits;
}

SearchSpace MakeSearchSpace(const CostTable& costs, const std::vector<Score>& scores,
                            const SearchParams& params,
                            const std::function<void(const std::string&)>& warn) {
  SearchSpace space;
  space.problem.limits = ReadLimits(params.min, params.max, costs);
  std::vector<size_t> limited;
  for (const MipLimit& limit : space.problem.limits)
    limited.push_back(ResourceIndex(costs, limit.resource));

  std::pair<int64_t, SubBlock> current{-1, SubBlock::kAttention};
  for (size_t i = 0; i < costs.rows.size(); ++i) {
    const CostTable::Row& row = costs.rows[i];
    const std::pair<int64_t, SubBlock> slot{row.layer, WhichSubBlock(row.spec)};
    if (slot != current) {
      current = slot;
      space.problem.groups.emplace_back();
      space.cost_rows.emplace_back();
    }
    MipOption option;
    option.name = row.variant;
    const auto score = std::find_if(scores.begin(), scores.end(), [&](const Score& s) {
      return s.layer == row.layer && s.spec == row.spec;
    });
    if (score != scores.end()) {
      option.score = score->Value(params.objective);
      if (!std::isfinite(option.score))
        throw Error(fmt::format("layer {}: variant {}: its score {} is not a number", row.layer,
                                row.variant, params.objective));
    } else if (!row.parents_own) {
      warn(
          fmt::format("layer {}: variant {} has no score and is left out", row.layer, row.variant));
      continue;
    }
    for (size_t resource : limited) option.costs.push_back(row.costs[resource]);
    space.problem.groups.back().push_back(std::move(option));
    space.cost_rows.back().push_back(i);
  }
  return space;
}

Choice RunSearch(const SearchParams& params, const Inputs& inputs, RunContext& context) {
  const auto costs = inputs.Get<CostTable>("costs");
  std::vector<Score> scores;
  for (const auto& input : inputs.List<Score>("scores")) scores.push_back(*input.Load());
  const SearchSpace space =
      MakeSearchSpace(*costs, scores, params, [&](const std::string& text) { context.Warn(text); });
  Choice choice;
  choice.method = params.method;
  const std::vector<int> picked = Solve(params, space.problem, choice);
  choice.objective = ChoiceScore(space.problem, picked);
  std::vector<double> totals = costs->fixed;
  for (size_t group = 0; group < picked.size(); ++group) {
    const CostTable::Row& row =
        costs->rows[space.cost_rows[group][static_cast<size_t>(picked[group])]];
    choice.picks.push_back({row.layer, row.variant, row.spec});
    for (size_t r = 0; r < totals.size(); ++r) totals[r] += row.costs[r];
  }
  for (size_t r = 0; r < totals.size(); ++r) choice.totals[costs->resources[r]] = totals[r];
  return choice;
}

}  // namespace puzzle
