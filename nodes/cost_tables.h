// From cost tables and scores to what a search chooses from. Values; thread-safe.
#pragma once

#include <vector>

#include "nodes/artifacts.h"
#include "nodes/variant_table.h"

namespace puzzle {

/// By batch size. Throws Error naming what one search cannot compare: other models, scenarios that
/// differ in more than the batch, or in nothing.
[[nodiscard]] std::vector<CostTable> ByBatch(std::vector<CostTable> tables);

/// A group per sub-block. Metrics are "kl", "lm_loss" and "cosine"; the parent's own sub-blocks
/// need no score: they add nothing, unless a score, taken in the context of a child, says
/// otherwise. Other variants without a score have no metrics.
[[nodiscard]] VariantTable TableOf(const CostTable& costs, const std::vector<Score>& scores);

/// A group per layer: every attention with every FFN, costs and metrics added up. Names and stats
/// are those of the published libraries.
[[nodiscard]] VariantTable BlockTableOf(const CostTable& costs, const std::vector<Score>& scores);

}  // namespace puzzle
