// `additivity`: what a whole loses, beside the sum of what its parts lose one at a time. A search
// adds scores up; this says how far off that is.
#pragma once

#include <string>
#include <vector>

#include "graph/kind/kind.h"
#include "nodes/measure/artifacts.h"
#include "nodes/measure/kinds.h"

namespace puzzle {

/// A whole block or a child. KL in nats per token.
struct Whole {
  std::string name;
  double sum = 0;  // of its parts' scores
  double measured = 0;
};

/// The whole blocks among `scores` that differ from the parent in both sub-blocks, which have
/// scores as well. By layer and name. What lacks the score of a part is named through `warn` and
/// left out.
[[nodiscard]] std::vector<Whole> WholeBlocks(const std::vector<Score>& scores,
                                             const ModelConfig& parent,
                                             const std::function<void(const std::string&)>& warn);

/// How far sums are off, over all wholes.
struct AdditivityError {
  double bias = 0;      // sum of (sum - measured) over the sum of measured
  double absolute = 0;  // the same of |sum - measured|
  double spearman = 0;  // do both rank alike? equals share a rank; 0 for fewer than two wholes
};

[[nodiscard]] AdditivityError CompareWholes(const std::vector<Whole>& wholes);

/// Two tables: whole blocks, and the evaluated children that know their sum of scores.
[[nodiscard]] ReportText RunAdditivity(const AdditivityParams& params, const Inputs& inputs,
                                       RunContext& context);

}  // namespace puzzle
