#include "nodes/search/search.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "io/error.h"
#include "nodes/search/cost_tables.h"
#include "nodes/search/search_answer.h"
#include "nodes/search/variant_table.h"
#include "nodes/solver/search_methods.h"

namespace puzzle {
namespace {

SearchSettings SettingsOf(const SearchParams& params) {
  SearchSettings settings;
  settings.method = params.method;
  settings.time_limit_s = params.time_limit_s;
  settings.seed = static_cast<uint64_t>(params.seed);
  settings.pool = params.pool;
  settings.distance = params.distance;
  return settings;
}

// A batch size, what it offers, and the best that was found there.
struct Candidate {
  CostTable costs;
  OptionTable options;
  SearchProblem search;
  std::vector<MipSolution> pool;
};

// The wanted solution of a pool, or nothing.
const MipSolution* Ranked(const Candidate& candidate, int64_t rank) {
  if (static_cast<size_t>(rank) > candidate.pool.size()) return nullptr;
  const MipSolution& solution = candidate.pool[static_cast<size_t>(rank - 1)];
  return solution.choice.empty() ? nullptr : &solution;
}

// What every batch size says about why there is nothing.
std::string Explanation(const std::vector<Candidate>& candidates, int64_t rank) {
  std::string text;
  for (const Candidate& candidate : candidates) {
    const MipSolution& first = candidate.pool.front();
    if (!text.empty()) text += "; ";
    if (candidates.size() > 1) text += fmt::format("batch {}: ", candidate.costs.scenario.batch);
    text += first.choice.empty()
                ? fmt::format("{}: {}", SolveStatusName(first.status), first.explanation)
                : fmt::format("there are only {} solutions, not {}", candidate.pool.size(), rank);
  }
  return text;
}

Choice ChoiceOf(const Candidate& candidate, const MipSolution& solution,
                const std::string& method) {
  const TableChoice found = ChoiceInTable(candidate.options.table, candidate.search, solution);
  Choice choice;
  choice.method = method;
  choice.status = SolveStatusName(solution.status);
  choice.objective = solution.objective;
  choice.bound = solution.bound;
  choice.gap = solution.gap;
  choice.batch = candidate.costs.scenario.batch;
  choice.timing = candidate.costs.timing;
  choice.totals = found.totals;
  for (size_t g = 0; g < found.variants.size(); ++g) {
    const auto& picks = candidate.options.picks[g][static_cast<size_t>(found.variants[g])];
    choice.picks.insert(choice.picks.end(), picks.begin(), picks.end());
  }
  return choice;
}

}  // namespace

Choice FindChild(const SearchParams& params, const std::vector<CostTable>& costs,
                 const std::vector<Score>& scores,
                 const std::function<void(const std::string&)>& warn,
                 const std::function<bool()>& should_stop) {
  SearchSettings settings = SettingsOf(params);
  settings.should_stop = should_stop;
  const Objective objective = ReadObjective(params.objective);
  std::vector<Candidate> candidates;
  size_t best = 0;
  for (CostTable& table : ByBatch(costs)) {
    Candidate candidate{std::move(table), {}, {}, {}};
    candidate.options = TableOf(candidate.costs, scores);
    const VariantTable& offered = candidate.options.table;
    const auto limits = ReadLimits(offered, params.min, params.max);
    candidate.search = MakeSearchProblem(
        offered, objective, limits, candidates.empty() ? warn : [](const std::string&) {});
    settings.sizes = ParameterCounts(offered, candidate.search);
    candidate.pool = Search(candidate.search.problem, settings);
    const MipSolution& first = candidate.pool.front();
    if (!first.choice.empty()) settings.hint = {first.multipliers, first.choice};
    candidates.push_back(std::move(candidate));
    const MipSolution* last = Ranked(candidates.back(), params.rank);
    const MipSolution* so_far = Ranked(candidates[best], params.rank);
    if (last != nullptr && (so_far == nullptr || last->objective < so_far->objective)) {
      best = candidates.size() - 1;
    }
  }
  const Candidate& chosen = candidates[best];
  const MipSolution* solution = Ranked(chosen, params.rank);
  if (solution == nullptr) {
    throw Error(fmt::format("no child found: {}", Explanation(candidates, params.rank)));
  }
  Choice choice = ChoiceOf(chosen, *solution, params.method);
  if (params.compare) {
    settings.sizes = ParameterCounts(chosen.options.table, chosen.search);
    choice.comparison = ComparisonTable(CompareMethods(chosen.search.problem, settings), false);
  }
  return choice;
}

Choice RunSearch(const SearchParams& params, const Inputs& inputs, RunContext& context) {
  std::vector<CostTable> costs;
  for (const auto& input : inputs.List<CostTable>("costs")) costs.push_back(*input.Load());
  std::vector<Score> scores;
  for (const auto& input : inputs.List<Score>("scores")) scores.push_back(*input.Load());
  const auto poll = [&context] {
    context.Poll(0);  // throws when the user asked to stop
    return false;
  };
  return FindChild(
      params, costs, scores, [&](const std::string& text) { context.Warn(text); }, poll);
}

}  // namespace puzzle
