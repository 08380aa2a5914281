// From cost tables and scores to what a search chooses from. Values; thread-safe.
#pragma once

#include <vector>

#include "nodes/cost/artifacts.h"
#include "nodes/measure/artifacts.h"
#include "nodes/search/artifacts.h"
#include "nodes/search/variant_table.h"

namespace puzzle {

/// By batch size. Throws Error when there are none, and naming what one search cannot compare:
/// other models, scenarios that differ in more than the batch, or in nothing.
[[nodiscard]] std::vector<CostTable> ByBatch(std::vector<CostTable> tables);

/// What a search chooses from, and what each variant puts into the child.
struct OptionTable {
  VariantTable table;
  std::vector<std::vector<std::vector<Choice::Pick>>> picks;  // by group and variant
};

/// A group per sub-block, or one for the whole layer where a whole block is listed in the costs or
/// has a score: every attention with every FFN, costs and metrics added up, and the whole blocks. A
/// whole block that was scored stands in for the sum of its parts; it costs what they do. Metrics
/// are the objectives of AllMetrics(), and those of tasks where scores have them, increases; the
/// parent's own sub-blocks need no score: they add nothing, unless a score, taken in the context of
/// a child, says otherwise. Other variants without a score have no metrics. Throws Error when there
/// are two scores of one variant, or no costs for a part of a whole block.
[[nodiscard]] OptionTable TableOf(const CostTable& costs, const std::vector<Score>& scores);

/// A group per layer in any case. Variants are named as in the published libraries, and shapes that
/// these lack (fewer query heads) have names of their own. Stats and metrics are called as in
/// `costs` and `scores`: kl, not kl_div, block_parameters, not num_params.
[[nodiscard]] VariantTable BlockTableOf(const CostTable& costs, const std::vector<Score>& scores);

}  // namespace puzzle
