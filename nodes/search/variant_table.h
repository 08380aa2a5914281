// What a search chooses from: for every group (a layer, or one of its sub-blocks) some variants,
// with their costs and their measured qualities, whether they come from a graph or from a block
// library. And the way from there, by an objective and limits as users write them, to a problem for
// the solver. Values; the functions are thread-safe.
#pragma once

#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/solver/mip.h"

namespace puzzle {

struct VariantTable {
  struct Variant {
    std::string name;
    std::vector<double> costs;                   // one per resource
    std::vector<std::optional<double>> metrics;  // one per metric; nothing: was not measured
    /// What it makes of the attention and of the FFN: "8 kv heads"; equal texts are equal shapes in
    /// all layers. "": nothing that a plain config.json can say of all layers (none, linear).
    /// Nothing: it leaves that part to another group.
    std::optional<std::string> attention = std::nullopt, ffn = std::nullopt;
  };
  /// The first variant is the parent's own.
  struct Group {
    std::string name;  // "layer_3", "layer_3 attn"
    std::vector<Variant> variants;
  };

  std::vector<std::string> resources;
  std::vector<std::string> metrics;
  std::vector<double> fixed;  // per resource: what is spent whatever is chosen
  std::vector<Group> groups;
  /// Sequences at once, and the tokens of all of them that throughput counts per pass of
  /// `runtime_ms`; 0: not known.
  double batch = 0;
  double tokens = 0;

  /// What the parent uses of every resource, `fixed` included.
  [[nodiscard]] std::vector<double> ParentTotals() const;
};

/// Metric -> weight. What it weighs is damage: the increase of a metric, but the decrease of one
/// of which more is better. Metrics of unknown direction take a negative weight for that.
using Objective = std::map<std::string, double>;

/// Whether more of a metric is known to be better: that of an accuracy, by its name.
[[nodiscard]] bool HigherIsBetter(std::string_view metric);

/// "kl" or {"kl": 1, "lm_loss": 0.2}. Throws Error for anything else, and for accuracies with
/// negative weights.
[[nodiscard]] Objective ReadObjective(const nlohmann::json& value);
/// What is wrong with an objective as users write it, where `metrics` are all that is measured;
/// nullopt: nothing.
[[nodiscard]] std::optional<std::string> CheckObjective(const nlohmann::json& objective,
                                                        const std::vector<std::string>& metrics);

/// Limits as users write them: {"memory_mib": 80000, "runtime_ms": "85%"}, percentages being of the
/// parent's total. Besides the table's resources there are `throughput` (tokens per second),
/// `latency_ms` (another word for runtime_ms) and `time_to_first_token_ms` (for prefill_ms).
/// These are the limits of a problem, `fixed` filled in. Throws Error for unknown resources (with
/// the list), wrong values, and bounds that contradict each other.
[[nodiscard]] std::vector<MipLimit> ReadLimits(const VariantTable& table, const nlohmann::json& min,
                                               const nlohmann::json& max);

/// The resource of cost tables that a limit of this name bounds: runtime_ms for latency_ms and
/// throughput, prefill_ms for time_to_first_token_ms, for others that of the name.
[[nodiscard]] std::string BoundedResource(const std::string& name);

/// The inverse question: the child that costs least among those that lose at most so much.
struct LossLimit {
  double max = 0;        // of the sum of scores
  std::string minimize;  // a resource, as in limits; "": parameters
};

/// {"max": 0.05} or {"max": 0.05, "minimize": "memory_mib"}; {} asks for nothing. Throws Error for
/// anything else.
[[nodiscard]] std::optional<LossLimit> ReadLossLimit(const nlohmann::json& value);

/// A problem whose options know which variants they are.
struct SearchProblem {
  MipProblem problem;
  std::vector<std::vector<int>> variants;  // per group and option: index of the variant
};

/// Scores are the weighted damages by the metrics, against the parent's own variant. A variant
/// without one of the metrics is left out and named through `warn`. Throws Error when a metric is
/// unknown (with the list) or not a number, or the parent's own lacks one.
[[nodiscard]] SearchProblem MakeSearchProblem(const VariantTable& table, const Objective& objective,
                                              const std::vector<MipLimit>& limits,
                                              const std::function<void(const std::string&)>& warn);

/// The inverse of such a problem: its scores become a limit, the last one, and what is minimised is
/// the resource, `fixed` included. Throws Error when the table lacks it.
[[nodiscard]] SearchProblem InverseProblem(const VariantTable& table, const Objective& objective,
                                           SearchProblem search, const LossLimit& loss);
/// The name of the resource that is minimised, as totals have it. Throws Error when there is none.
[[nodiscard]] std::string MinimizedResource(const VariantTable& table, const LossLimit& loss);

/// Parameters per group and option: the resource block_parameters, parameters or num_params. Empty
/// when there is none of them.
[[nodiscard]] std::vector<std::vector<double>> ParameterCounts(const VariantTable& table,
                                                               const SearchProblem& search);

/// What a choice (a variant per group) uses of every resource, and its throughput where that is
/// known.
[[nodiscard]] std::map<std::string, double> TotalsByName(const VariantTable& table,
                                                         const std::vector<int>& variants);

}  // namespace puzzle
