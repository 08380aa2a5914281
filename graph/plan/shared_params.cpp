#include "graph/plan/shared_params.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "graph/kind/params.h"

namespace puzzle {

using nlohmann::ordered_json;

struct SharedParams::Said {
  ordered_json value;
  std::string node;
};

SharedParams::~SharedParams() = default;

SharedParams::SharedParams(const GraphSpec& spec, const Registry& registry,
                           const std::vector<Scope>& scopes, Diagnostics& diagnostics) {
  for (const NodeSpec& node : spec.nodes) {
    const NodeKind* kind = registry.Find(node.kind);
    if (kind == nullptr) continue;
    for (const ParamSpec& param : kind->params) {
      if (FindRule(param, ParamRule::Type::kOncePerGraph) == nullptr) continue;
      // An override of all steps (`--set`) replaces what the node says; one of some cannot agree
      // with the rest unless it says the same.
      const SpecValue* written = nullptr;
      std::vector<const SpecValue*> partial;
      const auto look = [&](const auto& params, bool whole) {
        for (const auto& [name, place] : params) {
          if (name != param.name) continue;
          if (whole) {
            written = &place;
          } else {
            partial.push_back(&place);
          }
        }
      };
      look(node.params, true);
      for (const OverrideSpec& override_spec : node.overrides)
        look(override_spec.params, !override_spec.where || override_spec.where.value->empty());
      if (written != nullptr) partial.insert(partial.begin(), written);
      for (const SpecValue* place : partial)
        Take(node, param.name, *place, scopes[node.file], diagnostics);
    }
  }
}

void SharedParams::Take(const NodeSpec& node, const std::string& param, const SpecValue& place,
                        const Scope& scope, Diagnostics& diagnostics) {
  const std::string written = place.value->dump();
  for (const auto& [axis, values] : node.foreach) {
    if (written.find("${" + axis + "}") == std::string::npos) continue;
    Complain(place,
             fmt::format("\"{}\" is said once for the whole graph; it cannot depend on the axis "
                         "\"{}\"",
                         param, axis),
             "", diagnostics);
    return;
  }
  SubstituteError error;
  std::optional<ordered_json> value = Substitute(*place.value, scope, error);
  if (!value) return;  // complained about where the parameters are bound
  std::unique_ptr<Said>& first = said_[{node.file, param}];
  if (first == nullptr) {
    first = std::make_unique<Said>(Said{std::move(*value), node.name});
    return;
  }
  if (first->value == *value) return;
  Complain(place,
           fmt::format("\"{}\" is {} here and {} at node \"{}\"; a graph says it once", param,
                       value->dump(), first->value.dump(), first->node),
           "", diagnostics);
}

const ordered_json* SharedParams::Find(size_t file, const ParamSpec& param) const {
  if (FindRule(param, ParamRule::Type::kOncePerGraph) == nullptr) return nullptr;
  const auto found = said_.find({file, param.name});
  return found == said_.end() ? nullptr : &found->second->value;
}

}  // namespace puzzle
