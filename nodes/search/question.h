// What can be asked of a variant table, and its answer: the child that loses least within limits,
// or the smallest that loses at most so much; with free layers, or layers that are alike. Both the
// kind `search` and the verb ask this way. Values; thread-safe.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "nodes/search/uniform.h"
#include "nodes/search/variant_table.h"
#include "nodes/solver/search_methods.h"

namespace puzzle {

struct Question {
  Objective objective;                           // in which metrics a loss is counted
  std::vector<MipLimit> limits = {};             // ReadLimits of the table that is asked
  std::optional<LossLimit> loss = std::nullopt;  // the inverse question
  Uniform uniform = Uniform::kNone;
  SearchSettings settings = {};  // sizes are filled in

  /// What cannot be asked together, or nothing: pools, baselines and the inverse question.
  [[nodiscard]] std::optional<std::string> Complaint() const;
};

/// The solutions, and what they are compared with.
struct TableAnswer {
  SearchProblem search;                // of the solutions
  std::vector<MipSolution> solutions;  // as Search returns them
  /// Questions about layers that are alike: what they all take, and what free layers reach.
  std::string shape = {};
  std::optional<SearchProblem> free_search = std::nullopt;
  std::optional<MipSolution> free = std::nullopt;
  /// The inverse question: which resource was minimised. The objective of the solutions is its
  /// total, their last limit the loss.
  std::string minimized = {};

  /// The problem whose layers are free.
  [[nodiscard]] const SearchProblem& whole() const { return free_search ? *free_search : search; }
  /// "the same in all layers: 8 kv heads; loss 0.25, 0.05 more than with free layers", or "".
  [[nodiscard]] std::string UniformText() const;
};

/// What the layers lose by the choice of `solution`: the sum of scores, whatever was minimised.
[[nodiscard]] double LossOf(const TableAnswer& answer, const MipSolution& solution);

/// Of children that cost the same the inverse question takes one that loses least (where one
/// solution is asked for). Layers that are alike are exact as well: every common shape is searched.
/// Throws Error like MakeSearchProblem and Search, and for what Complaint() says.
[[nodiscard]] TableAnswer AskTable(const VariantTable& table, const Question& question,
                                   const std::function<void(const std::string&)>& warn);

}  // namespace puzzle
