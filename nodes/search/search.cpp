#include "nodes/search/search.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "io/error.h"
#include "nodes/measure/score_objectives.h"
#include "nodes/search/cost_tables.h"
#include "nodes/search/question.h"
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

Question QuestionOf(const SearchParams& params) {
  return {ReadObjective(params.objective),
          {},
          ReadLossLimit(params.loss),
          ReadUniform(params.uniform),
          SettingsOf(params)};
}

// An objective in tasks wants scores in tasks; the way to them is not in the list of metrics.
void CheckMeasured(const Objective& objective, const VariantTable& table) {
  for (const auto& [metric, weight] : objective) {
    const bool in_tasks = metric == kTaskAccuracy || metric == kTaskKl;
    if (in_tasks &&
        std::find(table.metrics.begin(), table.metrics.end(), metric) == table.metrics.end()) {
      throw Error(
          fmt::format("objective: no score has {}; connect `tasks` to the steps of kind "
                      "score",
                      metric));
    }
  }
}

// A batch size, what it offers, and the best that was found there.
struct Candidate {
  CostTable costs;
  OptionTable options;
  TableAnswer answer;
};

// The wanted solution of a pool, or nothing.
const MipSolution* Ranked(const Candidate& candidate, int64_t rank) {
  const std::vector<MipSolution>& pool = candidate.answer.solutions;
  if (static_cast<size_t>(rank) > pool.size()) return nullptr;
  const MipSolution& solution = pool[static_cast<size_t>(rank - 1)];
  return solution.choice.empty() ? nullptr : &solution;
}

// What every batch size says about why there is nothing.
std::string Explanation(const std::vector<Candidate>& candidates, int64_t rank) {
  std::string text;
  for (const Candidate& candidate : candidates) {
    const std::vector<MipSolution>& pool = candidate.answer.solutions;
    const MipSolution& first = pool.front();
    if (!text.empty()) text += "; ";
    if (candidates.size() > 1) text += fmt::format("batch {}: ", candidate.costs.scenario.batch);
    text += first.choice.empty()
                ? fmt::format("{}: {}", SolveStatusName(first.status), first.explanation)
                : fmt::format("there are only {} solutions, not {}{}{}", pool.size(), rank,
                              pool.back().explanation.empty() ? "" : "; ", pool.back().explanation);
  }
  return text;
}

// What is proven of the best solution of all batch sizes: where time ran out at another one, that
// one may hold something better.
MipSolution AmongBatches(MipSolution best, const std::vector<Candidate>& candidates) {
  for (const Candidate& candidate : candidates) {
    const MipSolution& first = candidate.answer.solutions.front();
    if (first.status == SolveStatus::kFeasible) best.bound = std::min(best.bound, first.bound);
    if (first.status == SolveStatus::kNoSolution)
      best.bound = std::min(best.bound, LowerBound(candidate.answer.whole().problem));
  }
  const double difference = best.objective - best.bound;
  if (!(difference > 0)) return best;
  best.status = SolveStatus::kFeasible;
  best.gap = difference / std::max(std::abs(best.objective), 1e-300);
  return best;
}

Choice ChoiceOf(const Candidate& candidate, const MipSolution& solution, const Question& question) {
  const TableChoice found =
      ChoiceInTable(candidate.options.table, candidate.answer.search, solution);
  Choice choice;
  choice.method = question.settings.method;
  choice.status = SolveStatusName(solution.status);
  choice.objective = LossOf(candidate.answer, solution);
  choice.minimized = candidate.answer.minimized;
  if (question.loss) choice.loss_max = question.loss->max;
  choice.uniform = candidate.answer.UniformText();
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

FoundChild LookForChild(const SearchParams& params, const std::vector<CostTable>& costs,
                        const std::vector<Score>& scores,
                        const std::function<void(const std::string&)>& warn,
                        const std::function<bool()>& should_stop) {
  Question question = QuestionOf(params);
  SearchSettings& settings = question.settings;
  settings.should_stop = should_stop;
  std::vector<Candidate> candidates;
  size_t best = 0;
  for (CostTable& table : ByBatch(costs)) {
    Candidate candidate{std::move(table), {}, {}};
    candidate.options = TableOf(candidate.costs, scores);
    CheckMeasured(question.objective, candidate.options.table);
    question.limits = ReadLimits(candidate.options.table, params.min, params.max);
    candidate.answer = AskTable(
        candidate.options.table, question, candidates.empty() ? warn : [](const std::string&) {});
    const MipSolution& first = candidate.answer.solutions.front();
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
    const bool is_proven_none =
        std::all_of(candidates.begin(), candidates.end(), [](const Candidate& candidate) {
          return candidate.answer.solutions.front().status == SolveStatus::kInfeasible;
        });
    return {std::nullopt, Explanation(candidates, params.rank), is_proven_none};
  }
  Choice choice =
      ChoiceOf(chosen, IsSolver(settings.method) ? AmongBatches(*solution, candidates) : *solution,
               question);
  if (params.compare && !question.loss) {
    const SearchProblem& whole = chosen.answer.whole();
    settings.sizes = ParameterCounts(chosen.options.table, whole);
    choice.comparison = ComparisonTable(CompareMethods(whole.problem, settings), false);
  }
  return {std::move(choice), {}, false};
}

Choice FindChild(const SearchParams& params, const std::vector<CostTable>& costs,
                 const std::vector<Score>& scores,
                 const std::function<void(const std::string&)>& warn,
                 const std::function<bool()>& should_stop) {
  FoundChild found = LookForChild(params, costs, scores, warn, should_stop);
  if (!found.choice) throw Error("no child found: " + found.explanation);
  return *std::move(found.choice);
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
