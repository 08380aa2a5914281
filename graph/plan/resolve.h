// References between steps: "blocks[layer=3]" -> step ids, with type and count checked. Used by
// MakePlan only. Thread-compatible.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <unordered_map>
#include <vector>

#include "graph/language/substitute.h"
#include "graph/plan/plan.h"

namespace puzzle {

/// Looks steps up by node and axis values; each combination of axes is indexed once, so that many
/// lookups take O(1) each.
class Resolver {
 public:
  /// REQUIRES: everything passed outlives the resolver and no longer changes its steps.
  Resolver(const Plan& plan, const std::vector<Expansion>& expansions, Diagnostics& diagnostics);

  /// The steps that `value` (text or list of texts, without `${`) connects to `port`; the nodes it
  /// names have names that begin with `prefix`. Mistakes are diagnostics at `place`.
  [[nodiscard]] std::vector<StepId> Resolve(const SpecValue& place, const std::string& prefix,
                                            const nlohmann::ordered_json& value,
                                            const PortSpec& port);

 private:
  using Index = std::unordered_map<std::string, std::vector<StepId>>;

  void Complain(const SpecValue& place, std::string message, std::string hint = {});
  bool Select(const SpecValue& place, const std::string& prefix, const std::string& text,
              const PortSpec& port, std::vector<StepId>& steps);
  const Index& IndexOf(size_t node, const std::vector<bool>& axes);

  const Plan& plan_;
  const std::vector<Expansion>& expansions_;
  Diagnostics& diagnostics_;
  std::unordered_map<std::string, size_t> nodes_;
  std::unordered_map<std::string, Index> indices_;  // node and set of axes -> index
};

}  // namespace puzzle
