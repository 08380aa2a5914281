// `precision`: a type for every part of a model, by the integer program that chooses its variants.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "graph/kind/kind.h"
#include "nodes/data/artifacts.h"
#include "nodes/precision/artifacts.h"
#include "nodes/precision/kinds.h"
#include "nodes/search/variant_table.h"

namespace puzzle {

/// What a search chooses from: a group per part, a variant per type, and the bytes of the GGUF file
/// as the resource `file_mib`, exactly. Throws Error for a part without scores, or with two.
[[nodiscard]] VariantTable PrecisionTable(const Checkpoint& checkpoint,
                                          const std::vector<PrecisionScore>& scores);

/// Throws Error when nothing is small enough, saying what would be.
[[nodiscard]] Precision ChoosePrecision(const PrecisionParams& params, const Checkpoint& checkpoint,
                                        const std::vector<PrecisionScore>& scores,
                                        const std::function<bool()>& should_stop);

[[nodiscard]] Precision RunPrecision(const PrecisionParams& params, const Inputs& inputs,
                                     RunContext& context);

}  // namespace puzzle
