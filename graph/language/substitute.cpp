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

constexpr int64_t kMaxElements = 1'000'000;

std::string_view StringOf(const ordered_json& value) {
  return value.get_ref<const std::string&>();
}

/// The length of "${name}" at the start of `text`, or 0.
size_t ReferenceLength(std::string_view text) {
  if (!text.starts_with("${")) return 0;
  const size_t close = text.find('}');
  return close == std::string_view::npos ? 0 : close + 1;
}

std::optional<ordered_json> SubstituteText(std::string_view text, const Scope& scope,
                                           SubstituteError& error) {
  const auto find = [&](std::string_view name) {
    const ordered_json* value = scope.Find(name);
    if (value == nullptr) {
      error = {fmt::format("\"${{{}}}\" is not known here", name), DidYouMean(name, scope.Names())};
    }
    return value;
  };
  if (const size_t length = ReferenceLength(text); length > 0 && length == text.size()) {
    const ordered_json* value = find(text.substr(2, length - 3));
    return value == nullptr ? std::nullopt : std::optional(*value);
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
      const ordered_json* value = find(name);
      if (value == nullptr) return std::nullopt;
      if (!value->is_primitive() || value->is_null()) {
        error = {fmt::format("\"${{{}}}\" is {}, which cannot be part of a text", name,
                             value->is_array() ? "a list" : value->type_name()),
                 ""};
        return std::nullopt;
      }
      result += ScalarText(*value);
      text.remove_prefix(length);
    }
  }
  return ordered_json(std::move(result));
}

ordered_json Range(const SpecValue& place, const ordered_json& range, Diagnostics& diagnostics) {
  const auto fits = [](const ordered_json& n) { return n.is_number_integer() && n <= INT64_MAX; };
  if (!range.is_array() || range.size() != 2 || !fits(range[0]) || !fits(range[1]) ||
      range[0] > range[1] ||
      range[1].get<uint64_t>() - range[0].get<uint64_t>() > uint64_t{kMaxElements}) {
    Complain(place,
             fmt::format("a range is [first, end] with integers, first <= end and at most {} "
                         "elements",
                         kMaxElements),
             "", diagnostics);
    return nullptr;
  }
  ordered_json list = ordered_json::array();
  for (int64_t i = range[0].get<int64_t>(); i < range[1].get<int64_t>(); ++i) list.push_back(i);
  return list;
}

ordered_json LayersOf(const SpecValue& place, const ordered_json& checkpoint,
                      const LayerCounter& layers_of, Diagnostics& diagnostics) {
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
    return Range(place, ordered_json::array({0, layers_of(checkpoint.get<std::string>())}),
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
      : file_(file), layers_of_(layers_of), diagnostics_(diagnostics) {
    for (const auto& [name, value] : file.vars) values_.emplace(name, &value);
    for (const auto& [name, place] : file.given) {
      if (values_.contains(name)) done_[name] = Evaluated(place, outer);
    }
  }

  std::map<std::string, ordered_json> Run() {
    for (const auto& [name, unused] : file_.vars) Evaluate(name);
    // A variable that failed has been complained about; null keeps its users quiet.
    return std::move(done_);
  }

 private:
  void Evaluate(const std::string& name) {
    if (done_.contains(name)) return;
    const SpecValue& value = *values_.at(name);
    if (std::find(path_.begin(), path_.end(), name) != path_.end()) {
      std::string circle;
      for (auto it = std::find(path_.begin(), path_.end(), name); it != path_.end(); ++it) {
        circle += *it + " -> ";
      }
      Complain(value, "variables go round in a circle: " + circle + name, "", diagnostics_);
      done_[name] = nullptr;
      return;
    }
    path_.push_back(name);
    EvaluateReferences(*value.value);
    Scope scope;
    for (const auto& [other, result] : done_) scope.SetVar(other, &result);
    path_.pop_back();
    if (done_.contains(name)) return;  // a circle
    done_[name] = Evaluated(value, scope);
  }

  ordered_json Evaluated(const SpecValue& place, const Scope& scope) {
    SubstituteError error;
    std::optional<ordered_json> result = Substitute(*place.value, scope, error);
    if (!result) {
      Complain(place, error.message, error.hint, diagnostics_);
      return nullptr;
    }
    return EvaluateSpecial(place, std::move(*result), layers_of_, diagnostics_);
  }

  void EvaluateReferences(const ordered_json& value) {
    if (value.is_string()) {
      std::string_view text = StringOf(value);
      for (size_t at = text.find("${"); at != std::string_view::npos;
           at = text.find("${", at + 2)) {
        const size_t length = ReferenceLength(text.substr(at));
        if (length == 0) return;
        std::string name(text.substr(at + 2, length - 3));
        if (name.starts_with("vars.")) name.erase(0, 5);
        if (values_.contains(name)) Evaluate(name);
      }
    } else if (value.is_structured()) {
      for (const auto& item : value) EvaluateReferences(item);
    }
  }

  const FileSpec& file_;
  const LayerCounter& layers_of_;
  Diagnostics& diagnostics_;
  std::unordered_map<std::string, const SpecValue*> values_;
  std::map<std::string, ordered_json> done_;
  std::vector<std::string> path_;
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
  ordered_json copy = value;
  for (auto& item : copy) {
    std::optional<ordered_json> result = Substitute(item, scope, error);
    if (!result) return std::nullopt;
    item = std::move(*result);
  }
  return copy;
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

std::map<std::string, ordered_json> EvaluateVars(const FileSpec& file, const Scope& outer,
                                                 const LayerCounter& layers_of,
                                                 Diagnostics& diagnostics) {
  return VarEvaluator(file, outer, layers_of, diagnostics).Run();
}

ordered_json EvaluateSpecial(const SpecValue& place, ordered_json value,
                             const LayerCounter& layers_of, Diagnostics& diagnostics) {
  if (!value.is_object()) return value;
  const std::vector<std::string> known = {"range", "layers_of"};
  if (value.size() != 1 || (!value.contains("range") && !value.contains("layers_of"))) {
    Complain(place,
             "a variable is a scalar, a list, {\"range\": [first, end]} or "
             "{\"layers_of\": checkpoint}",
             value.empty() ? "" : DidYouMean(value.begin().key(), known), diagnostics);
    return nullptr;
  }
  return value.contains("range") ? Range(place, value["range"], diagnostics)
                                 : LayersOf(place, value["layers_of"], layers_of, diagnostics);
}

}  // namespace puzzle
