// What a search of a variant table found, for programs and for people. Values; thread-safe.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "nodes/search/question.h"

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
/// without a solution also "explanation" and "nearest": [{"resource", "side", "asked", "works"}];
/// "explanation" too where time ran out before a pool was full.
/// The inverse question adds "minimized" and, per solution, "loss"; its objective is the total of
/// what was minimised. Uniform layers add "uniform": {"shape", "free_objective"}.
[[nodiscard]] nlohmann::ordered_json AnswerJson(const VariantTable& table,
                                                const TableAnswer& answer);

/// The same as a report: status, totals beside limits and parent, the blocks.
[[nodiscard]] std::string AnswerText(const VariantTable& table, const TableAnswer& answer,
                                     const std::string& method);

}  // namespace puzzle
