// `search`: one variant for every sub-block, by MIP or by a baseline, under limits (paper section
// 4.3).
#pragma once

#include "graph/node.h"
#include "nodes/artifacts.h"
#include "nodes/mip.h"
#include "nodes/params.h"

namespace puzzle {

/// Limits as written in a graph: {"block_parameters": "70%", "memory_mib": 900}; a percentage is of
/// the parent's total. Throws Error for unknown resources (with the list) and wrong values.
[[nodiscard]] std::vector<MipLimit> ReadLimits(const nlohmann::json& min, const nlohmann::json& max,
                                               const CostTable& costs);

/// One group per sub-block, one option per variant that has a score (the parent's own needs none:
/// it costs nothing in quality unless a score, taken in the context of a child, says otherwise).
/// `cost_rows[g][o]` is the row of `costs` behind an option. Variants without a score are dropped
/// and named through `warn`; a NaN score is an Error.
struct SearchSpace {
  MipProblem problem;
  std::vector<std::vector<size_t>> cost_rows;
};
[[nodiscard]] SearchSpace MakeSearchSpace(const CostTable& costs, const std::vector<Score>& scores,
                                          const SearchParams& params,
                                          const std::function<void(const std::string&)>& warn);

[[nodiscard]] Choice RunSearch(const SearchParams& params, const Inputs& inputs,
                               RunContext& context);

}  // namespace puzzle
