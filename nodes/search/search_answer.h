// What a search of a variant table found, for programs and for people. Values; thread-safe.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "nodes/search/variant_table.h"

namespace puzzle {

/// A solution in terms of the table.
struct TableChoice {
  std::vector<int> variants;             // per group
  std::map<std::string, double> totals;  // all resources, throughput where it is known
};

/// REQUIRES: `solution` has a choice.
[[nodiscard]] TableChoice ChoiceInTable(const VariantTable& table, const SearchProblem& search,
                                        const MipSolution& solution);

/// {"status", "objective", "bound", "gap", "time_s", "totals": {...}, "choice": [names],
/// "solutions": [{"status", "objective", "bound", "gap", "time_s", "totals", "choice"}, ...]};
/// without a solution also "explanation" and "nearest": [{"resource", "side", "asked", "works"}].
/// `solutions` are what Search returned for `search.problem`.
[[nodiscard]] nlohmann::ordered_json AnswerJson(const VariantTable& table,
                                                const SearchProblem& search,
                                                const std::vector<MipSolution>& solutions);

/// The same as a report: status, totals beside limits and parent, the blocks.
[[nodiscard]] std::string AnswerText(const VariantTable& table, const SearchProblem& search,
                                     const std::vector<MipSolution>& solutions,
                                     const std::string& method);

}  // namespace puzzle
