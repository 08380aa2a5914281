// Parameters that a graph says once (ParamRule kOncePerGraph), such as how percentages of FFN
// channels round: kinds that have to agree about them cannot disagree. Used by MakePlan only.
// Thread-compatible.
#pragma once

#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "graph/kind/registry.h"
#include "graph/language/substitute.h"

namespace puzzle {

class SharedParams {
 public:
  /// Takes up what the nodes of every file give, `scopes` being the variables per file. Two nodes
  /// that give different values are a diagnostic, and so is a value that differs between the steps
  /// of a node.
  SharedParams(const GraphSpec& spec, const Registry& registry, const std::vector<Scope>& scopes,
               Diagnostics& diagnostics);
  ~SharedParams();
  SharedParams(const SharedParams&) = delete;
  SharedParams& operator=(const SharedParams&) = delete;

  /// What a graph file says about a parameter; nullptr when it says nothing, or the parameter is
  /// none of these.
  [[nodiscard]] const nlohmann::ordered_json* Find(size_t file, const ParamSpec& param) const;

 private:
  struct Said;
  void Take(const NodeSpec& node, const std::string& param, const SpecValue& place,
            const Scope& scope, Diagnostics& diagnostics);

  std::map<std::pair<size_t, std::string>, std::unique_ptr<Said>> said_;  // by file and name
};

}  // namespace puzzle
