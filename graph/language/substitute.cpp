#include "graph/language/substitute.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <unordered_set>

#include "io/error.h"

namespace puzzle {
namespace {

using nlohmann::ordered_json;

constexpr int64_t kMaxRange = 1'000'000;

std::string_view StringOf(const ordered_json& value) {
  return value.get_ref<const std::string&>();
}

/// The length of "${name}" at the start of `text`, or 0.
size_t ReferenceLength(std::string_view text) {
  if (!text.starts_with("${")) return 0;
  const size_t close = text.find('}');
  return close == std::string_view::npos ? 0 : close + 1;
}

constexpr size_t kStringObject = 48;  // that a text in a list takes besides its long bytes

/// What a copy of a value costs, and how deep it is.
struct Extent {
  size_t cost = 0;
  int depth = 0;
};

Extent Measure(const ordered_json& value) {
  if (value.is_string()) {
    return {CostOfText(StringOf(value).size()), 0};
  }
  if (!value.is_structured()) return {};
  Extent extent{sizeof(ordered_json) * value.size(), 0};
  for (const ordered_json& item : value) {
    const Extent inner = Measure(item);
    extent.cost += inner.cost + (item.is_string() ? kStringObject : 0);
    extent.depth = std::max(extent.depth, inner.depth);
  }
  ++extent.depth;
  return extent;
}

SubstituteError TooMuch() {
  return {fmt::format("all that the graph stands for would be more than {} MiB",
                      Budget::kMaxCost >> 20),
          "do variables repeat each other?"};
}

SubstituteError TooLong(std::string_view name) {
  return {fmt::format("with \"${{{}}}\" the text would be longer than {} bytes", name,
                      Budget::kMaxText),
          ""};
}

/// A copy of `value`, when there is room for it.
std::optional<ordered_json> Copied(const ordered_json& value, const Scope& scope,
                                   SubstituteError& error) {
  const Extent extent = Measure(value);
  if (extent.depth > Budget::kMaxDepth) {
    error = {fmt::format("lists would stand in lists more than {} times", Budget::kMaxDepth), ""};
    return std::nullopt;
  }
  if (!scope.budget().Spend(extent.cost)) {
    error = TooMuch();
    return std::nullopt;
  }
  return value;
}

/// The name in a text that is exactly one reference; "" in any other.
std::string_view OnlyReference(std::string_view text) {
  const size_t length = ReferenceLength(text);
  return length > 0 && length == text.size() ? text.substr(2, length - 3) : std::string_view();
}

/// The same of any value.
std::string_view ReferenceIn(const ordered_json& value) {
  return value.is_string() ? OnlyReference(StringOf(value)) : std::string_view();
}

const ordered_json* FindOrExplain(std::string_view name, const Scope& scope,
                                  SubstituteError& error) {
  const ordered_json* value = scope.Find(name);
  if (value == nullptr) {
    error = {fmt::format("\"${{{}}}\" is not known here", name), DidYouMean(name, scope.Names())};
  }
  return value;
}

std::optional<ordered_json> SubstituteText(std::string_view text, const Scope& scope,
                                           SubstituteError& error) {
  if (const std::string_view name = OnlyReference(text); !name.empty()) {
    const ordered_json* value = FindOrExplain(name, scope, error);
    return value == nullptr ? std::nullopt : Copied(*value, scope, error);
  }
  std::string result;
  while (!text.empty()) {
    const size_t dollar = text.find('$');
    result += text.substr(0, dollar);
    if (dollar == std::string_view::npos) break;
    text.remove_prefix(dollar);
    if (text.starts_with("$${")) {
      result += "${";
      text.remove_prefix(3);
    } else if (!text.starts_with("${")) {
      result += '$';
      text.remove_prefix(1);
    } else {
      const size_t length = ReferenceLength(text);
      if (length == 0) {
        error = {fmt::format("\"{}\" lacks its closing '}}'", text), ""};
        return std::nullopt;
      }
      const std::string_view name = text.substr(2, length - 3);
      const ordered_json* value = FindOrExplain(name, scope, error);
      if (value == nullptr) return std::nullopt;
      if (!value->is_primitive() || value->is_null()) {
        error = {fmt::format("\"${{{}}}\" is {}, which cannot be part of a text", name,
                             value->is_array() ? "a list" : value->type_name()),
                 ""};
        return std::nullopt;
      }
      result += scope.TextOf(name, *value);
      if (result.size() > Budget::kMaxText) {
        error = TooLong(name);
        return std::nullopt;
      }
      text.remove_prefix(length);
    }
  }
  if (!scope.budget().Spend(CostOfText(result.size()))) {
    error = TooMuch();
    return std::nullopt;
  }
  return ordered_json(std::move(result));
}

ordered_json Range(const SpecValue& place, const ordered_json& range, Budget& budget,
                   Diagnostics& diagnostics) {
  const auto fits = [](const ordered_json& n) {  // compared as JSON, 2^63 is less than 0
    return n.is_number_unsigned() ? n.get<uint64_t>() <= uint64_t{INT64_MAX}
                                  : n.is_number_integer();
  };
  if (!range.is_array() || range.size() != 2 || !fits(range[0]) || !fits(range[1]) ||
      range[0] > range[1] ||
      range[1].get<uint64_t>() - range[0].get<uint64_t>() > uint64_t{kMaxRange}) {
    Complain(place,
             fmt::format("a range is [first, end] with integers, first <= end and at most {} "
                         "elements",
                         kMaxRange),
             "", diagnostics);
    return nullptr;
  }
  const uint64_t count = range[1].get<uint64_t>() - range[0].get<uint64_t>();
  if (!budget.Spend(sizeof(ordered_json) * count)) {
    const SubstituteError error = TooMuch();
    Complain(place, error.message, error.hint, diagnostics);
    return nullptr;
  }
  ordered_json list = ordered_json::array();
  for (int64_t i = range[0].get<int64_t>(); i < range[1].get<int64_t>(); ++i) list.push_back(i);
  return list;
}

ordered_json LayersOf(const SpecValue& place, const ordered_json& checkpoint,
                      const LayerCounter& layers_of, Budget& budget, Diagnostics& diagnostics) {
  if (!checkpoint.is_string()) {
    Complain(place, "\"layers_of\" takes the path of a checkpoint", "", diagnostics);
    return nullptr;
  }
  if (!layers_of) {
    Complain(place, "this program knows no models, \"layers_of\" has no meaning here", "",
             diagnostics);
    return nullptr;
  }
  try {
    return Range(place, ordered_json::array({0, layers_of(checkpoint.get<std::string>())}), budget,
                 diagnostics);
  } catch (const Error& error) {
    Complain(place, error.what(), "", diagnostics);
    return nullptr;
  }
}

/// Works out the variables of one file in the order of their references.
class VarEvaluator {
 public:
  VarEvaluator(const FileSpec& file, const Scope& outer, const LayerCounter& layers_of,
               Diagnostics& diagnostics)
      : file_(file), layers_of_(layers_of), diagnostics_(diagnostics), scope_(outer.budget()) {
    for (const auto& [name, value] : file.vars) values_.emplace(name, &value);
    for (const auto& [name, place] : file.given) {
      if (values_.contains(name)) Keep(name, Evaluated(place, outer));
    }
    for (const auto& [name, text] : TypedVars(file, outer)) scope_.SetTyped(name, text);
  }

  std::map<std::string, ordered_json> Run() {
    for (const auto& [name, unused] : file_.vars) Evaluate(name);
    // A variable that failed has been complained about; null keeps its users quiet.
    return std::move(done_);
  }

 private:
  /// A variable whose references are being worked out.
  struct Open {
    std::string name;
    std::vector<std::string> references;
    size_t next = 0;
  };

  /// With a stack of its own: a chain of variables may be longer than that of the program.
  void Evaluate(const std::string& first) {
    if (done_.contains(first)) return;
    Enter(first);
    while (!path_.empty()) {
      Open& open = path_.back();
      if (open.next < open.references.size()) {
        const std::string name = open.references[open.next++];
        if (done_.contains(name)) continue;
        open_.contains(name) ? ComplainCircle(name) : Enter(name);
        continue;
      }
      const std::string name = open.name;
      path_.pop_back();
      open_.erase(name);
      if (!done_.contains(name)) Keep(name, Evaluated(*values_.at(name), scope_));
    }
  }

  void Enter(const std::string& name) {
    Open open{name, {}, 0};
    CollectReferences(*values_.at(name)->value, open.references);
    path_.push_back(std::move(open));
    open_.insert(name);
  }

  void Keep(const std::string& name, ordered_json value) {
    ordered_json& kept = done_[name];
    kept = std::move(value);
    scope_.SetVar(name, &kept);
  }

  void ComplainCircle(const std::string& name) {
    constexpr size_t kShown = 10;
    std::string circle;
    size_t shown = 0;
    auto it = std::find_if(path_.begin(), path_.end(),
                           [&](const Open& open) { return open.name == name; });
    for (; it != path_.end() && shown < kShown; ++it, ++shown) circle += it->name + " -> ";
    if (it != path_.end()) circle += "... -> ";
    Complain(*values_.at(name), "variables go round in a circle: " + circle + name, "",
             diagnostics_);
    Keep(name, nullptr);
  }

  ordered_json Evaluated(const SpecValue& place, const Scope& scope) {
    SubstituteError error;
    std::optional<ordered_json> result = Substitute(*place.value, scope, error);
    if (!result) {
      Complain(place, error.message, error.hint, diagnostics_);
      return nullptr;
    }
    return EvaluateSpecial(place, std::move(*result), layers_of_, scope.budget(), diagnostics_);
  }

  void CollectReferences(const ordered_json& value, std::vector<std::string>& names) {
    if (value.is_string()) {
      const std::string_view text = StringOf(value);
      for (size_t at = text.find("${"); at != std::string_view::npos;
           at = text.find("${", at + 2)) {
        if (at > 0 && text[at - 1] == '$') continue;  // "$${" is a plain "${"
        const size_t length = ReferenceLength(text.substr(at));
        if (length == 0) return;
        std::string name(text.substr(at + 2, length - 3));
        if (name.starts_with("vars.")) name.erase(0, 5);
        if (values_.contains(name)) names.push_back(std::move(name));
      }
    } else if (value.is_structured()) {
      for (const auto& item : value) CollectReferences(item, names);
    }
  }

  const FileSpec& file_;
  const LayerCounter& layers_of_;
  Diagnostics& diagnostics_;
  std::unordered_map<std::string, const SpecValue*> values_;
  std::map<std::string, ordered_json> done_;
  Scope scope_;  // of `done_`
  std::vector<Open> path_;
  std::unordered_set<std::string> open_;  // names in `path_`
};

}  // namespace

void Scope::SetVar(const std::string& name, const ordered_json* value) {
  vars_[name] = value;
}

void Scope::SetAxis(const std::string& name, const ordered_json* value) {
  for (auto& [axis, old] : axes_) {
    if (axis == name) {
      old = value;
      return;
    }
  }
  axes_.emplace_back(name, value);
}

const ordered_json* Scope::Find(std::string_view reference) const {
  if (reference.starts_with("vars.")) {
    reference.remove_prefix(5);
  } else {
    for (const auto& [axis, value] : axes_) {
      if (axis == reference) return value;
    }
  }
  const auto it = vars_.find(reference);
  return it == vars_.end() ? nullptr : it->second;
}

std::string_view Scope::TypedOf(std::string_view reference) const {
  if (typed_.empty()) return {};
  const bool qualified = reference.starts_with("vars.");
  const std::string_view name = qualified ? reference.substr(5) : reference;
  const bool axis = !qualified && std::any_of(axes_.begin(), axes_.end(), [&](const auto& entry) {
    return entry.first == name;
  });
  const auto typed = typed_.find(name);
  return typed == typed_.end() || axis ? std::string_view() : typed->second;
}

std::string Scope::TextOf(std::string_view reference, const ordered_json& value) const {
  const std::string_view typed = value.is_string() ? std::string_view() : TypedOf(reference);
  return typed.empty() ? ScalarText(value) : std::string(typed);
}

std::vector<std::string> Scope::Names() const {
  std::vector<std::string> names;
  for (const auto& [axis, unused] : axes_) names.push_back(axis);
  for (const auto& [var, unused] : vars_) {
    names.push_back(var);
    names.push_back("vars." + var);
  }
  return names;
}

bool HasReference(const ordered_json& value) {
  if (value.is_string()) return StringOf(value).find("${") != std::string_view::npos;
  if (!value.is_structured()) return false;
  return std::any_of(value.begin(), value.end(), HasReference);
}

std::optional<ordered_json> Substitute(const ordered_json& value, const Scope& scope,
                                       SubstituteError& error) {
  if (value.is_string()) {
    if (!HasReference(value)) return value;
    return SubstituteText(StringOf(value), scope, error);
  }
  if (!value.is_structured()) return value;
  std::optional<ordered_json> copy = Copied(value, scope, error);
  if (!copy || !HasReference(*copy)) return copy;
  for (auto& item : *copy) {
    std::optional<ordered_json> result = Substitute(item, scope, error);
    if (!result) return std::nullopt;
    item = std::move(*result);
  }
  // A list in a list that a reference brought along counts as well.
  if (Measure(*copy).depth > Budget::kMaxDepth) return Copied(*copy, scope, error);
  return copy;
}

std::optional<ordered_json> SubstituteAsText(const SpecValue& place, const Scope& scope,
                                             SubstituteError& error) {
  if (!place.typed.empty() && !place.value->is_string()) return ordered_json(place.typed);
  std::optional<ordered_json> value = Substitute(*place.value, scope, error);
  if (!value || !(value->is_number() || value->is_boolean())) return value;
  const std::string_view name = ReferenceIn(*place.value);
  return ordered_json(name.empty() ? ScalarText(*value) : scope.TextOf(name, *value));
}

std::string NumberText(double value) {
  if (value == 0) return "0";
  char text[32];
  if (std::floor(value) == value && std::abs(value) < 9007199254740992.0) {
    const auto end = std::to_chars(text, text + sizeof text, static_cast<int64_t>(value)).ptr;
    return {text, end};
  }
  std::string result(text, std::to_chars(text, text + sizeof text, value).ptr);
  // 1e-04 is written 1e-4.
  const size_t exponent = result.find('e');
  if (exponent != std::string::npos) {
    while (result.size() > exponent + 3 && result[exponent + 2] == '0') {
      result.erase(exponent + 2, 1);
    }
  }
  return result;
}

std::string ScalarText(const ordered_json& scalar) {
  if (scalar.is_string()) return scalar.get<std::string>();
  if (scalar.is_number_float()) return NumberText(scalar.get<double>());
  return scalar.dump();
}

std::map<std::string, std::string_view, std::less<>> TypedVars(const FileSpec& file,
                                                               const Scope& outer) {
  std::map<std::string, std::string_view, std::less<>> typed;
  std::unordered_set<std::string_view> given;
  for (const auto& [name, place] : file.given) {
    given.insert(name);
    if (const std::string_view text = outer.TypedOf(ReferenceIn(*place.value)); !text.empty())
      typed[name] = text;
  }
  std::unordered_multimap<std::string_view, std::string_view> stand_for;  // variable -> by whom
  for (const auto& [name, value] : file.vars) {
    if (given.contains(name)) continue;
    if (!value.typed.empty()) {
      typed[name] = value.typed;
    } else if (std::string_view reference = ReferenceIn(*value.value); !reference.empty()) {
      if (reference.starts_with("vars.")) reference.remove_prefix(5);
      stand_for.emplace(reference, name);
    }
  }
  std::vector<std::string_view> open;
  for (const auto& [name, unused] : typed) open.push_back(name);
  while (!open.empty()) {
    const std::string_view of = open.back();
    open.pop_back();
    const std::string_view text = typed.find(of)->second;
    const auto [begin, end] = stand_for.equal_range(of);
    for (auto it = begin; it != end; ++it) {
      if (typed.emplace(it->second, text).second) open.push_back(it->second);
    }
  }
  return typed;
}

std::map<std::string, ordered_json> EvaluateVars(const FileSpec& file, const Scope& outer,
                                                 const LayerCounter& layers_of,
                                                 Diagnostics& diagnostics) {
  return VarEvaluator(file, outer, layers_of, diagnostics).Run();
}

ordered_json EvaluateSpecial(const SpecValue& place, ordered_json value,
                             const LayerCounter& layers_of, Budget& budget,
                             Diagnostics& diagnostics) {
  if (!value.is_object()) return value;
  const std::vector<std::string> known = {"range", "layers_of"};
  if (value.size() != 1 || (!value.contains("range") && !value.contains("layers_of"))) {
    Complain(place,
             "a variable is a scalar, a list, {\"range\": [first, end]} or "
             "{\"layers_of\": checkpoint}",
             value.empty() ? "" : DidYouMean(value.begin().key(), known), diagnostics);
    return nullptr;
  }
  return value.contains("range")
             ? Range(place, value["range"], budget, diagnostics)
             : LayersOf(place, value["layers_of"], layers_of, budget, diagnostics);
}

}  // namespace puzzle
