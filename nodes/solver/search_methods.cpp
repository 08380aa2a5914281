#include "nodes/solver/search_methods.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "io/error.h"
#include "nodes/solver/baselines.h"
#include "nodes/solver/evolve.h"
#include "nodes/solver/greedy.h"
#include "nodes/solver/mip_clock.h"

namespace puzzle {
namespace {

using Found = std::optional<std::vector<int>>;
using Baseline = Found (*)(const MipProblem&, const SearchSettings&);

const std::map<std::string, Baseline>& Baselines() {
  static const std::map<std::string, Baseline> baselines = {
      {"greedy", [](const MipProblem& p, const SearchSettings&) { return EfficiencyGreedy(p); }},
      {"paper_greedy", [](const MipProblem& p, const SearchSettings&) { return ShareGreedy(p); }},
      {"uniform", [](const MipProblem& p, const SearchSettings&) { return BestUniform(p); }},
      {"depth", [](const MipProblem& p, const SearchSettings&) { return BestDepth(p); }},
      {"last", [](const MipProblem& p, const SearchSettings&) { return LastDropped(p); }},
      {"random",
       [](const MipProblem& p, const SearchSettings& s) { return RandomChoice(p, s.seed); }},
      {"max_params",
       [](const MipProblem& p, const SearchSettings& s) { return LargestChoice(p, s.sizes); }},
      {"evolution", [](const MipProblem& p, const SearchSettings& s) { return Evolve(p, s.seed); }},
      {"policy",
       [](const MipProblem& p, const SearchSettings& s) { return LearnPolicy(p, s.seed); }}};
  return baselines;
}

MipOptions OptionsOf(const SearchSettings& settings) {
  MipOptions options;
  options.time_limit_s = settings.time_limit_s;
  options.should_stop = settings.should_stop;
  options.hint = settings.hint;
  options.solver = settings.method == "cbc" ? MipSolver::kCbc : MipSolver::kExact;
  return options;
}

MipSolution RunBaseline(const MipProblem& problem, const SearchSettings& settings) {
  const MipClock clock(settings.time_limit_s, settings.should_stop);
  if (settings.method == "max_params" && settings.sizes.size() != problem.groups.size()) {
    throw Error("max_params: there is no resource that counts parameters");
  }
  const Found choice = Baselines().at(settings.method)(problem, settings);
  MipSolution solution;
  solution.bound = LowerBound(problem);
  if (choice) {
    solution.status = SolveStatus::kFeasible;
    solution.choice = *choice;
    solution.objective = ChoiceScore(problem, *choice);
    solution.totals = ChoiceTotals(problem, *choice);
    solution.bound = std::min(solution.bound, solution.objective);
    solution.gap =
        (solution.objective - solution.bound) / std::max(std::abs(solution.objective), 1e-300);
  } else {
    solution.explanation = fmt::format("{} found no choice within the limits", settings.method);
  }
  solution.time_s = clock.elapsed_s();
  return solution;
}

// Asks that a choice has at most `most` options in common with an earlier one.
void AddDistance(MipProblem& problem, const std::vector<int>& earlier, double most) {
  problem.limits.push_back({.resource = "options shared with an earlier solution", .high = most});
  for (size_t g = 0; g < problem.groups.size(); ++g) {
    for (size_t o = 0; o < problem.groups[g].size(); ++o) {
      problem.groups[g][o].costs.push_back(static_cast<int>(o) == earlier[g] ? 1 : 0);
    }
  }
}

std::vector<MipSolution> SolvePool(const MipProblem& problem, const SearchSettings& settings) {
  MipOptions options = OptionsOf(settings);
  std::vector<MipSolution> pool = {SolveMip(problem, options)};
  MipProblem further = problem;
  options.explain = false;
  while (static_cast<int64_t>(pool.size()) < settings.pool && !pool.back().choice.empty()) {
    AddDistance(
        further, pool.back().choice,
        static_cast<double>(static_cast<int64_t>(problem.groups.size()) - settings.distance));
    MipSolution next = SolveMip(further, options);
    if (next.choice.empty()) {
      if (next.status == SolveStatus::kNoSolution)
        pool.back().explanation = "whether there are more is not known: " + next.explanation;
      break;
    }
    next.totals.resize(problem.limits.size());  // without the distances
    next.multipliers.resize(problem.limits.size());
    pool.push_back(std::move(next));
  }
  return pool;
}

}  // namespace

const std::vector<std::string>& SearchMethods() {
  static const std::vector<std::string> methods = {
      "exact", "cbc",    "greedy",     "paper_greedy", "uniform", "depth",
      "last",  "random", "max_params", "evolution",    "policy"};
  return methods;
}

bool IsSolver(const std::string& method) {
  return method == "exact" || method == "cbc";
}

std::vector<MipSolution> Search(const MipProblem& problem, const SearchSettings& settings) {
  const auto& methods = SearchMethods();
  if (std::find(methods.begin(), methods.end(), settings.method) == methods.end()) {
    throw Error(fmt::format("unknown method \"{}\"; there are {}", settings.method,
                            fmt::join(methods, ", ")));
  }
  CheckMipProblem(problem);
  const bool solver = IsSolver(settings.method);
  if (settings.pool < 1) throw Error("a pool holds at least one solution");
  if (settings.pool > 1 && !solver) {
    throw Error(fmt::format("a pool needs the method exact or cbc, not {}", settings.method));
  }
  const auto groups = static_cast<int64_t>(problem.groups.size());
  if (settings.distance < 1 || settings.distance > groups) {
    throw Error(fmt::format("a distance of {} is not between 1 and the {} choices to make",
                            settings.distance, groups));
  }
  if (solver) return SolvePool(problem, settings);
  return {RunBaseline(problem, settings)};
}

std::vector<MethodResult> CompareMethods(const MipProblem& problem,
                                         const SearchSettings& settings) {
  std::vector<MethodResult> results;
  for (const std::string& method : SearchMethods()) {
    if (method == "cbc" || (method == "max_params" && settings.sizes.empty())) continue;
    SearchSettings one = settings;
    one.method = method;
    one.pool = 1;
    results.push_back({method, Search(problem, one).front()});
    if (results.front().solution.choice.empty()) break;  // there is nothing to compare
  }
  return results;
}

nlohmann::ordered_json ComparisonJson(const std::vector<MethodResult>& results) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const auto& [method, solution] : results) {
    nlohmann::ordered_json row = {{"method", method},
                                  {"status", SolveStatusName(solution.status)},
                                  {"objective", nullptr},
                                  {"above_best", nullptr},
                                  {"time_s", solution.time_s}};
    if (!solution.choice.empty()) {
      row["objective"] = solution.objective;
      row["above_best"] = solution.objective - results.front().solution.objective;
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

std::string ComparisonTable(const std::vector<MethodResult>& results, bool with_seconds) {
  std::string table = fmt::format("{:<13} {:>12}  {:>12}{}\n", "method", "objective", "above best",
                                  with_seconds ? "    seconds" : "");
  const double best = results.empty() ? 0 : results.front().solution.objective;
  for (const auto& [method, solution] : results) {
    if (solution.choice.empty()) {
      table += fmt::format("{:<13} {}\n", method, solution.explanation);
      continue;
    }
    const double above = solution.objective - best;
    const std::string distance = best == 0 ? fmt::format("{:+.4g}", above)
                                           : fmt::format("{:+.2f} %", 100 * above / std::abs(best));
    table += fmt::format("{:<13} {:>12.6f}  {:>12}", method, solution.objective, distance);
    if (with_seconds) table += fmt::format("  {:>9.4f}", solution.time_s);
    table += '\n';
  }
  return table;
}

}  // namespace puzzle
