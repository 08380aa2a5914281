#include "graph/plan/resolve.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace puzzle {

using nlohmann::ordered_json;

namespace {

using ElementIndex = std::unordered_map<std::string, std::vector<StepId>>;

/// Looks for elements by another spelling of numbers than the names of steps have: 1e-3 is 0.001.
/// `wanted` has a value per axis, nullptr where any will do; `first` is the first step of the node.
ElementIndex::const_iterator FindByNumbers(const ElementIndex& index, const Expansion& expansion,
                                           StepId first,
                                           const std::vector<const std::string*>& wanted) {
  std::string key;
  std::vector<size_t> respelled;  // axes
  for (size_t a = 0; a < wanted.size(); ++a) {
    if (wanted[a] == nullptr) continue;
    const ordered_json value = ordered_json::parse(*wanted[a], nullptr, /*allow_exceptions=*/false);
    const std::string text = value.is_number() ? ScalarText(value) : *wanted[a];
    if (text != *wanted[a]) respelled.push_back(a);
    key += text + ',';
  }
  const auto match = index.find(key);
  if (match == index.end()) return match;
  const std::vector<uint32_t>& element = expansion.elements[match->second.front() - first];
  const bool are_numbers = std::all_of(respelled.begin(), respelled.end(), [&](size_t a) {
    return expansion.axes[a].values[element[a]].is_number();
  });
  return are_numbers ? match : index.end();
}

}  // namespace

Resolver::Resolver(const Plan& plan, const std::vector<Expansion>& expansions,
                   Diagnostics& diagnostics)
    : plan_(plan), expansions_(expansions), diagnostics_(diagnostics) {
  for (size_t n = 0; n < plan.nodes.size(); ++n) nodes_.emplace(plan.nodes[n].name, n);
}

void Resolver::Complain(const SpecValue& place, std::string message, std::string hint) {
  puzzle::Complain(place, std::move(message), std::move(hint), diagnostics_);
}

std::vector<StepId> Resolver::Resolve(const SpecValue& place, const std::string& prefix,
                                      const ordered_json& value, const PortSpec& port) {
  std::vector<StepId> steps;
  if (port.arity == PortSpec::Arity::kList) {
    if (value.is_string()) {
      Select(place, prefix, value.get_ref<const std::string&>(), port, steps);
    } else if (value.is_array() && std::all_of(value.begin(), value.end(),
                                               [](const auto& item) { return item.is_string(); })) {
      for (const auto& item : value) {
        if (!Select(place, prefix, item.get_ref<const std::string&>(), port, steps)) break;
      }
      std::sort(steps.begin(), steps.end());
      steps.erase(std::unique(steps.begin(), steps.end()), steps.end());
    } else {
      Complain(place, "expected a list of steps such as [\"blocks\"]");
    }
    return steps;
  }
  if (!value.is_string()) {
    Complain(place, fmt::format("input \"{}\" takes one step, written as a text", port.name));
    return steps;
  }
  const std::string& text = value.get_ref<const std::string&>();
  if (!Select(place, prefix, text, port, steps)) return steps;
  if (steps.empty()) {
    Complain(place, fmt::format("\"{}\" has no steps", text));
  } else if (steps.size() > 1) {
    const PlanNode& node = plan_.nodes[plan_.steps[steps.front()].node];
    std::string form = node.name.substr(prefix.size()) + "[";
    for (const Axis& axis : expansions_[plan_.steps[steps.front()].node].axes) {
      if (form.back() != '[') form += ',';
      form += axis.name + "=...";
    }
    Complain(place, fmt::format("input \"{}\" takes one step, but \"{}\" stands for {}; write "
                                "\"{}]\"",
                                port.name, text, steps.size(), form));
  }
  return steps;
}

bool Resolver::Select(const SpecValue& place, const std::string& prefix, const std::string& text,
                      const PortSpec& port, std::vector<StepId>& steps) {
  Selector selector;
  std::string error;
  if (!ParseSelector(text, selector, error)) {
    Complain(place, error);
    return false;
  }
  const auto found = nodes_.find(prefix + selector.node);
  if (found == nodes_.end()) {
    std::vector<std::string> names;
    for (const PlanNode& node : plan_.nodes) {
      if (node.name.starts_with(prefix)) names.push_back(node.name.substr(prefix.size()));
    }
    Complain(place, fmt::format("there is no node \"{}\"", selector.node),
             DidYouMean(selector.node, names));
    return false;
  }
  const PlanNode& node = plan_.nodes[found->second];
  if (node.kind == nullptr) return false;  // has been complained about
  if (node.kind->output != port.type) {
    Complain(place,
             fmt::format("input \"{}\" takes \"{}\", but \"{}\" (kind \"{}\") makes \"{}\"",
                         port.name, port.type, selector.node, node.kind->name, node.kind->output));
    return false;
  }
  if (selector.where.empty()) {
    for (uint32_t i = 0; i < node.count; ++i) steps.push_back(node.first + i);
    return true;
  }
  const Expansion& expansion = expansions_[found->second];
  std::vector<const std::string*> wanted(expansion.axes.size(), nullptr);
  for (const auto& [name, value] : selector.where) {
    const auto axis = std::find_if(expansion.axes.begin(), expansion.axes.end(),
                                   [&](const Axis& a) { return a.name == name; });
    if (axis == expansion.axes.end()) {
      std::vector<std::string> names;
      for (const Axis& a : expansion.axes) names.push_back(a.name);
      Complain(place, fmt::format("node \"{}\" has no axis \"{}\"", selector.node, name),
               DidYouMean(name, names));
      return false;
    }
    wanted[static_cast<size_t>(axis - expansion.axes.begin())] = &value;
  }
  std::vector<bool> axes;
  std::string key;
  for (const std::string* value : wanted) {
    axes.push_back(value != nullptr);
    if (value != nullptr) key += *value + ',';
  }
  const Index& index = IndexOf(found->second, axes);
  auto match = index.find(key);
  if (match == index.end()) match = FindByNumbers(index, expansion, node.first, wanted);
  if (match == index.end()) {
    std::vector<std::string> names;
    if (node.count <= 10'000) {
      for (uint32_t i = 0; i < node.count; ++i) {
        names.push_back(plan_.steps[node.first + i].name.substr(prefix.size()));
      }
    }
    const bool whole = std::find(axes.begin(), axes.end(), false) == axes.end();
    Complain(place, fmt::format("there is no step \"{}\"", text),
             whole ? DidYouMean(text, names) : "");
    return false;
  }
  steps.insert(steps.end(), match->second.begin(), match->second.end());
  return true;
}

const Resolver::Index& Resolver::IndexOf(size_t node, const std::vector<bool>& axes) {
  std::string name = std::to_string(node) + ':';
  for (const bool axis : axes) name += axis ? '1' : '0';
  const auto [it, inserted] = indices_.try_emplace(std::move(name));
  if (!inserted) return it->second;
  const Expansion& expansion = expansions_[node];
  std::string key;
  for (size_t e = 0; e < expansion.elements.size(); ++e) {
    key.clear();
    for (size_t a = 0; a < axes.size(); ++a) {
      if (axes[a]) key += expansion.axes[a].texts[expansion.elements[e][a]] + ',';
    }
    it->second[key].push_back(plan_.nodes[node].first + static_cast<StepId>(e));
  }
  return it->second;
}

}  // namespace puzzle
