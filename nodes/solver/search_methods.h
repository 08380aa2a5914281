// Every way to search a problem, by name: the solver, and what it has to beat. Thread-safe.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "nodes/solver/mip.h"

namespace puzzle {

struct SearchSettings {
  std::string method = "exact";  // one of SearchMethods()
  double time_limit_s = 60;
  uint64_t seed = 1;     // random, evolution, policy
  int64_t pool = 1;      // exact, cbc: how many solutions
  int64_t distance = 1;  // in how many groups each differs at least from all before it
  MipHint hint = {};
  std::function<bool()> should_stop = {};
  /// What max_params adds up, per group and option; empty: not known.
  std::vector<std::vector<double>> sizes = {};
};

/// "exact" and "cbc" (the optimum), "greedy" (score per cost), "paper_greedy", "uniform", "depth",
/// "last", "random", "max_params", "evolution", "policy".
[[nodiscard]] const std::vector<std::string>& SearchMethods();
/// Whether a method proves what it finds: exact and cbc, unlike the baselines.
[[nodiscard]] bool IsSolver(const std::string& method);

/// The best solution first; with a pool as many as there are, in the order in which they were
/// found. Never empty: without a solution the only entry says why. Where time ran out before the
/// pool was full, the explanation of its last solution says so. A baseline's solution has the
/// status kFeasible and the Lagrangian bound. Throws Error for an unknown method, a pool or
/// distance that makes no sense, and like SolveMip.
[[nodiscard]] std::vector<MipSolution> Search(const MipProblem& problem,
                                              const SearchSettings& settings);

/// One row of a comparison.
struct MethodResult {
  std::string method;
  MipSolution solution;
};

/// All methods but cbc on the same problem, the optimum first, max_params where sizes are known.
[[nodiscard]] std::vector<MethodResult> CompareMethods(const MipProblem& problem,
                                                       const SearchSettings& settings);

/// [{"method", "status", "objective", "above_best", "time_s"}, ...]; null where nothing was found.
[[nodiscard]] nlohmann::ordered_json ComparisonJson(const std::vector<MethodResult>& results);

/// A table for people: method, objective, distance from the optimum, and seconds if asked for.
/// Methods that found nothing say so.
[[nodiscard]] std::string ComparisonTable(const std::vector<MethodResult>& results,
                                          bool with_seconds);

}  // namespace puzzle
