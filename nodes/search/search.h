// `search`: one variant for every sub-block, or block, under limits (paper section 4.3), by the
// exact solver or by a baseline.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "graph/kind/kind.h"
#include "nodes/cost/artifacts.h"
#include "nodes/measure/artifacts.h"
#include "nodes/search/artifacts.h"
#include "nodes/search/kinds.h"

namespace puzzle {

/// A child, or why there is none.
struct FoundChild {
  std::optional<Choice> choice;
  std::string explanation;
  bool is_proven_none = false;  // else time ran out, or the pool is smaller than the rank
};
[[nodiscard]] FoundChild LookForChild(const SearchParams& params,
                                      const std::vector<CostTable>& costs,
                                      const std::vector<Score>& scores,
                                      const std::function<void(const std::string&)>& warn,
                                      const std::function<bool()>& should_stop);

/// The best child over all batch sizes among `costs`. Throws Error when there is none, saying why.
[[nodiscard]] Choice FindChild(const SearchParams& params, const std::vector<CostTable>& costs,
                               const std::vector<Score>& scores,
                               const std::function<void(const std::string&)>& warn,
                               const std::function<bool()>& should_stop);

[[nodiscard]] Choice RunSearch(const SearchParams& params, const Inputs& inputs,
                               RunContext& context);

}  // namespace puzzle
