// `foreach`, `exclude` and `where`: the part of substitute.h that makes elements.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <unordered_set>

#include "graph/language/substitute.h"

namespace puzzle {
namespace {

using nlohmann::ordered_json;

constexpr size_t kMaxElements = 1'000'000;
constexpr size_t kMaxAxes = 32;
constexpr size_t kMaxAxisText = 1000;  // bytes of one value, which becomes part of names
constexpr size_t kMaxComparisons = 1'000'000'000;  // of elements with entries of "exclude"

/// Step names are cut at these characters when they are read back.
bool FitsIntoName(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) {
    return c == ',' || c == '[' || c == ']' || static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
  });
}

/// The list that an axis runs over, or null after a complaint.
ordered_json AxisValues(const SpecValue& place, const Scope& vars, const LayerCounter& layers_of,
                        Diagnostics& diagnostics) {
  SubstituteError error;
  std::optional<ordered_json> values = Substitute(*place.value, vars, error);
  if (!values) {
    Complain(place, error.message, error.hint, diagnostics);
    return nullptr;
  }
  // Of a variable that failed enough was said.
  if (values->is_null() && place.value->is_string() && !diagnostics.empty()) return nullptr;
  if (values->is_object() && values->size() == 1 &&
      (values->contains("range") || values->contains("layers_of"))) {
    return EvaluateSpecial(place, std::move(*values), layers_of, vars.budget(), diagnostics);
  }
  if (!values->is_array()) {
    Complain(place,
             "an axis runs over a list, {\"range\": [first, end]} or \"${variable}\", not " +
                 std::string(values->type_name()),
             "", diagnostics);
    return nullptr;
  }
  return std::move(*values);
}

}  // namespace

std::string Expansion::Label(size_t element) const {
  if (axes.empty()) return {};
  std::string label = "[";
  for (size_t a = 0; a < axes.size(); ++a) {
    if (a > 0) label += ',';
    label += axes[a].name;
    label += '=';
    label += axes[a].texts[elements[element][a]];
  }
  label += ']';
  return label;
}

size_t Expansion::LongestLabel() const {
  size_t bytes = 0;
  for (const Axis& axis : axes) {
    size_t longest = 0;
    for (const std::string& text : axis.texts) longest = std::max(longest, text.size());
    bytes += axis.name.size() + longest + 2;
  }
  return bytes;
}

Expansion Expand(const NodeSpec& node, const Scope& vars, const LayerCounter& layers_of,
                 Diagnostics& diagnostics) {
  Expansion expansion;
  size_t count = 1;
  for (const auto& [name, place] : node.foreach) {
    if (expansion.axes.size() == kMaxAxes) {
      Complain(place, fmt::format("more than {} axes in one node", kMaxAxes), "", diagnostics);
      break;
    }
    Axis axis{name, {}, {}};
    ordered_json values = AxisValues(place, vars, layers_of, diagnostics);
    std::unordered_set<std::string> seen;
    for (ordered_json& value : values) {
      if (!value.is_primitive() || value.is_null()) {
        Complain(place, "the elements of an axis are texts, numbers or booleans", "", diagnostics);
        continue;
      }
      std::string text = ScalarText(value);
      if (!FitsIntoName(text)) {
        Complain(place,
                 fmt::format("\"{}\" cannot be the element of an axis: ',', '[', ']' and "
                             "control characters would make step names ambiguous",
                             text),
                 "", diagnostics);
        continue;
      }
      if (text.size() > kMaxAxisText) {
        Complain(place,
                 fmt::format("the element of an axis has {} bytes, at most {} can be part of the "
                             "names of steps",
                             text.size(), kMaxAxisText),
                 "", diagnostics);
        continue;
      }
      if (!seen.insert(text).second) {
        Complain(place, fmt::format("the value \"{}\" occurs twice", text), "", diagnostics);
        continue;
      }
      axis.values.push_back(std::move(value));
      axis.texts.push_back(std::move(text));
    }
    count *= axis.values.size();
    if (count > kMaxElements) {
      Complain(place, fmt::format("more than {} steps in one node", kMaxElements), "", diagnostics);
      count = 0;
      axis.values.clear();
      axis.texts.clear();
    }
    expansion.axes.push_back(std::move(axis));
  }
  if (!node.exclude.empty() && count > kMaxComparisons / node.exclude.size()) {
    Complain(node.exclude.front(),
             fmt::format("{} elements and {} entries are more than {} comparisons", count,
                         node.exclude.size(), kMaxComparisons),
             "", diagnostics);
    return expansion;
  }
  std::vector<ElementFilter> excluded;
  for (const SpecValue& where : node.exclude) {
    excluded.emplace_back(where, expansion, vars, diagnostics);
  }
  expansion.elements.reserve(count);
  std::vector<uint32_t> element(expansion.axes.size(), 0);
  for (size_t i = 0; i < count; ++i) {
    size_t rest = i;
    for (size_t a = element.size(); a-- > 0;) {
      element[a] = static_cast<uint32_t>(rest % expansion.axes[a].values.size());
      rest /= expansion.axes[a].values.size();
    }
    if (std::none_of(excluded.begin(), excluded.end(),
                     [&](const ElementFilter& filter) { return filter.Matches(element); })) {
      expansion.elements.push_back(element);
    }
  }
  return expansion;
}

ElementFilter::ElementFilter(const SpecValue& where, const Expansion& expansion, const Scope& vars,
                             Diagnostics& diagnostics) {
  if (!where) return;
  for (const auto& [name, written] : where.value->items()) {
    const auto axis = std::find_if(expansion.axes.begin(), expansion.axes.end(),
                                   [&](const Axis& a) { return a.name == name; });
    SpecValue place = where;
    place.pointer += "/" + PointerToken(name);
    if (axis == expansion.axes.end()) {
      std::vector<std::string> names;
      for (const Axis& a : expansion.axes) names.push_back(a.name);
      Complain(place,
               names.empty() ? "the node has no foreach, hence no axis \"" + name + "\""
                             : fmt::format("the node has no axis \"{}\"", name),
               DidYouMean(name, names), diagnostics);
      broken_ = true;
      continue;
    }
    SubstituteError error;
    std::optional<ordered_json> value = Substitute(written, vars, error);
    if (!value) {
      Complain(place, error.message, error.hint, diagnostics);
      broken_ = true;
      continue;
    }
    if (!value->is_array()) value = ordered_json::array({*value});
    std::unordered_map<std::string_view, size_t> positions;  // pays for long lists only
    const bool many = value->size() > 16;
    for (size_t i = 0; many && i < axis->texts.size(); ++i) positions.emplace(axis->texts[i], i);
    const auto position_of = [&](const std::string& text) {
      if (!many) {
        const auto found = std::find(axis->texts.begin(), axis->texts.end(), text);
        return static_cast<size_t>(found - axis->texts.begin());
      }
      const auto found = positions.find(text);
      return found == positions.end() ? axis->texts.size() : found->second;
    };
    std::vector<bool> allowed(axis->texts.size(), false);
    for (const ordered_json& item : *value) {
      if (!item.is_primitive() || item.is_null()) {
        Complain(place, "expected a value of the axis or a list of them", "", diagnostics);
        broken_ = true;
        break;
      }
      const std::string text = ScalarText(item);
      if (const size_t at = position_of(text); at < allowed.size()) {
        allowed[at] = true;
      } else if (!where.setting.empty()) {  // in a file it may belong to another --set vars.x=...
        Complain(place, fmt::format("the axis \"{}\" has no value \"{}\"", name, text),
                 DidYouMean(text, axis->texts), diagnostics);
      }
    }
    allowed_.emplace_back(static_cast<size_t>(axis - expansion.axes.begin()), std::move(allowed));
  }
}

bool ElementFilter::Matches(const std::vector<uint32_t>& element) const {
  if (broken_) return false;
  return std::all_of(allowed_.begin(), allowed_.end(),
                     [&](const auto& entry) { return entry.second[element[entry.first]]; });
}

}  // namespace puzzle
