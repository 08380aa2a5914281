#include "graph/kind/params.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "graph/language/diagnostics.h"
#include "graph/language/substitute.h"
#include "io/error.h"

namespace puzzle {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

/// Short form of a value for messages.
std::string Shown(const ordered_json& value) {
  std::string text = value.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

// Each Read returns false when the JSON value does not have the member's type.

bool Read(const ordered_json& value, int64_t& out) {
  if (value.is_number_unsigned()) {
    const uint64_t number = value.get<uint64_t>();
    out = static_cast<int64_t>(number);
    return number <= static_cast<uint64_t>(INT64_MAX);
  }
  if (value.is_number_integer()) {
    out = value.get<int64_t>();
    return true;
  }
  if (!value.is_number_float()) return false;
  const double number = value.get<double>();
  if (std::floor(number) != number || std::abs(number) > 9007199254740992.0) return false;
  out = static_cast<int64_t>(number);
  return true;
}

bool Read(const ordered_json& value, double& out) {
  if (!value.is_number()) return false;
  out = value.get<double>();
  return std::isfinite(out);
}

bool Read(const ordered_json& value, bool& out) {
  if (!value.is_boolean()) return false;
  out = value.get<bool>();
  return true;
}

bool Read(const ordered_json& value, std::string& out) {
  if (!value.is_string()) return false;
  out = value.get<std::string>();
  return true;
}

bool Read(const ordered_json& value, json& out) {
  out = json(value);
  return true;
}

template <class T>
bool Read(const ordered_json& value, std::vector<T>& out) {
  if (!value.is_array()) return false;
  out.clear();
  out.reserve(value.size());
  for (const ordered_json& item : value) {
    T element{};
    if (!Read(item, element)) return false;
    out.push_back(std::move(element));
  }
  return true;
}

std::string Quoted(const std::string& text) {
  const bool plain = std::all_of(text.begin(), text.end(), [](char c) {
    return c >= ' ' && c < 0x7F && c != '"' && c != '\\';
  });
  if (plain) return '"' + text + '"';  // by far the most
  return json(text).dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string Canonical(int64_t value) {
  return fmt::format_int(value).str();
}
std::string Canonical(double value) {
  return NumberText(value);
}
std::string Canonical(bool value) {
  return value ? "true" : "false";
}
std::string Canonical(const std::string& value) {
  return Quoted(value);
}
std::string Canonical(const json& value) {
  return CanonicalText(value);
}

template <class T>
std::string Canonical(const std::vector<T>& list) {
  std::string text = "[";
  for (size_t i = 0; i < list.size(); ++i) {
    if (i > 0) text += ',';
    text += Canonical(list[i]);
  }
  return text + ']';
}

/// Calls `check(number)` for a number or for every element of a list of numbers.
template <class F>
void ForNumbers(const ParamMember& member, F&& check) {
  std::visit(
      Overload{[&](int64_t* v) { check(static_cast<double>(*v)); }, [&](double* v) { check(*v); },
               [&](std::vector<int64_t>* v) {
                 for (const int64_t x : *v) check(static_cast<double>(x));
               },
               [&](std::vector<double>* v) {
                 for (const double x : *v) check(x);
               },
               [](auto*) {}},
      member);
}

template <class F>
void ForTexts(const ParamMember& member, F&& check) {
  std::visit(Overload{[&](std::string* v) { check(*v); },
                      [&](std::vector<std::string>* v) {
                        for (const std::string& x : *v) check(x);
                      },
                      [](auto*) {}},
             member);
}

/// Checks the conditions on a value that has the right type.
void CheckRules(const ParamSpec& param, const ParamMember& member,
                std::vector<ParamMistake>& mistakes) {
  for (const ParamRule& rule : param.rules) {
    switch (rule.type) {
      case ParamRule::Type::kAtLeast:
      case ParamRule::Type::kBetween:
        ForNumbers(member, [&](double number) {
          const bool fits =
              number >= rule.low && (rule.type == ParamRule::Type::kAtLeast || number <= rule.high);
          if (!fits) {
            mistakes.push_back(
                {param.name, fmt::format("must be {}, got {}", RuleText(rule), NumberText(number)),
                 ""});
          }
        });
        break;
      case ParamRule::Type::kOneOf:
        ForTexts(member, [&](const std::string& text) {
          if (std::find(rule.options.begin(), rule.options.end(), text) == rule.options.end()) {
            mistakes.push_back({param.name,
                                fmt::format("must be {}, got {}", RuleText(rule), Quoted(text)),
                                DidYouMean(text, rule.options)});
          }
        });
        break;
      default:
        break;
    }
  }
}

/// Names a digest function, so that a new version of the kind does not trust the old one's digests.
std::string FolderId(const NodeKind& kind, const ParamSpec& param) {
  return fmt::format("{}.{} {}", kind.name, param.name, kind.version);
}

/// With options only those values stay out of the key: what results had before the parameter came,
/// which stay valid.
bool StaysUnkeyed(const ParamRule& rule, const std::string& text) {
  return rule.options.empty() ||
         std::any_of(rule.options.begin(), rule.options.end(), [&](const std::string& option) {
           return text == Quoted(option) || (option.empty() && (text == "[]" || text == "{}"));
         });
}

std::string PathOf(const ParamSpec& param, const ParamMember& member) {
  std::string* const* text = std::get_if<std::string*>(&member);
  PUZZLE_CHECK(text != nullptr, "parameter \"" + param.name + "\" with a file rule is not a text");
  return **text;
}

/// The same of a parameter that may be a list of paths.
std::vector<std::string> PathsOf(const ParamSpec& param, const ParamMember& member) {
  if (auto* const* list = std::get_if<std::vector<std::string>*>(&member)) return **list;
  return {PathOf(param, member)};
}

/// Digests the files or folders that a parameter names, for the key and for `bound.inputs`; not
/// without `files`.
std::string KnowContent(const NodeKind& kind, const ParamSpec& param, const ParamMember& member,
                        FileDigester* files, BoundParams& bound,
                        std::vector<ParamMistake>& mistakes) {
  const ParamRule* folder = FindRule(param, ParamRule::Type::kInputFolder);
  std::string text;
  for (const std::string& path : PathsOf(param, member)) {
    bound.input_paths.emplace_back(param.name, path);
    if (!text.empty()) text += ',';
    if (path.empty() || files == nullptr) {
      text += "\"\"";
      continue;
    }
    try {
      bound.inputs.push_back(folder ? files->KnowFolder(path, FolderId(kind, param), folder->digest)
                                    : files->KnowFile(path));
      text += "{\"content\":" + Quoted(bound.inputs.back()->digest) + '}';
    } catch (const Error& error) {
      mistakes.push_back({param.name, error.what(), ""});
    }
  }
  const bool is_list = std::holds_alternative<std::vector<std::string>*>(member);
  return is_list ? '[' + text + ']' : text;
}

}  // namespace

std::string TypeName(const ParamMember& member) {
  return std::visit(Overload{[](int64_t*) { return "integer"; }, [](double*) { return "number"; },
                             [](bool*) { return "boolean"; }, [](std::string*) { return "text"; },
                             [](std::vector<int64_t>*) { return "list of integers"; },
                             [](std::vector<double>*) { return "list of numbers"; },
                             [](std::vector<std::string>*) { return "list of texts"; },
                             [](json*) { return "JSON value"; }},
                    member);
}

std::string CanonicalText(const ParamMember& member) {
  return std::visit([](auto* value) { return Canonical(*value); }, member);
}

std::string CanonicalText(const json& value) {
  switch (value.type()) {
    case json::value_t::object: {
      std::string text = "{";
      for (const auto& [name, item] : value.items()) {  // std::map: sorted
        if (text.size() > 1) text += ',';
        text += Quoted(name) + ':' + CanonicalText(item);
      }
      return text + '}';
    }
    case json::value_t::array: {
      std::string text = "[";
      for (const json& item : value) {
        if (text.size() > 1) text += ',';
        text += CanonicalText(item);
      }
      return text + ']';
    }
    case json::value_t::number_float:
      return NumberText(value.get<double>());
    default:
      return value.dump(-1, ' ', false, json::error_handler_t::replace);
  }
}

std::string RuleText(const ParamRule& rule) {
  switch (rule.type) {
    case ParamRule::Type::kAtLeast:
      return "at least " + NumberText(rule.low);
    case ParamRule::Type::kBetween:
      return "between " + NumberText(rule.low) + " and " + NumberText(rule.high);
    case ParamRule::Type::kOneOf:
      return fmt::format("one of \"{}\"", fmt::join(rule.options, "\", \""));
    case ParamRule::Type::kInputFile:
      return "a file; its content enters the key";
    case ParamRule::Type::kInputFolder:
      return "a folder; its content enters the key";
    case ParamRule::Type::kOutputFolder:
      return "a folder that the step fills";
    case ParamRule::Type::kUnkeyed:
      if (rule.options.size() == 1 && rule.options.front().empty())
        return "not part of the key when empty";
      if (!rule.options.empty())
        return fmt::format("\"{}\" is not part of the key", fmt::join(rule.options, "\", \""));
      return "does not change the result";
    case ParamRule::Type::kOncePerGraph:
      return "said once for the whole graph";
    case ParamRule::Type::kRequired:
      return "required";
  }
  return {};
}

const ParamRule* FindRule(const ParamSpec& param, ParamRule::Type type) {
  const auto it = std::find_if(param.rules.begin(), param.rules.end(),
                               [&](const ParamRule& rule) { return rule.type == type; });
  return it == param.rules.end() ? nullptr : &*it;
}

ParamBinder::ParamBinder(const NodeKind& kind, FileDigester* files)
    : kind_(kind), files_(files), sorted_(kind.params.size()) {
  std::iota(sorted_.begin(), sorted_.end(), size_t{0});
  std::sort(sorted_.begin(), sorted_.end(),
            [&](size_t a, size_t b) { return kind.params[a].name < kind.params[b].name; });
}

int ParamBinder::Find(const std::string& name) const {
  for (size_t i = 0; i < kind_.params.size(); ++i) {
    if (kind_.params[i].name == name) return static_cast<int>(i);
  }
  return -1;
}

std::vector<std::string> ParamBinder::Names() const {
  std::vector<std::string> names;
  for (const ParamSpec& param : kind_.params) names.push_back(param.name);
  return names;
}

bool ParamBinder::IsText(int index) const {
  const auto params = kind_.make_params();
  return std::holds_alternative<std::string*>(
      kind_.params[static_cast<size_t>(index)].member(params.get()));
}

BoundParams ParamBinder::Bind(const std::vector<const ordered_json*>& given,
                              std::vector<ParamMistake>& mistakes) const {
  BoundParams bound;
  const std::shared_ptr<void> params = kind_.make_params();
  const size_t mistakes_before = mistakes.size();
  bound.keyed.reserve(32 * sorted_.size());
  bound.keyed = '{';
  for (const size_t i : sorted_) {
    const ParamSpec& param = kind_.params[i];
    const ParamMember member = param.member(params.get());
    if (given[i] == nullptr) {
      if (FindRule(param, ParamRule::Type::kRequired)) {
        mistakes.push_back(
            {param.name, fmt::format("required parameter \"{}\" is missing", param.name), ""});
        continue;
      }
    } else if (!std::visit([&](auto* out) { return Read(*given[i], *out); }, member)) {
      mistakes.push_back(
          {param.name, fmt::format("expected {}, got {}", TypeName(member), Shown(*given[i])), ""});
      continue;
    } else {
      CheckRules(param, member, mistakes);
    }
    std::string text;
    if (FindRule(param, ParamRule::Type::kInputFile) ||
        FindRule(param, ParamRule::Type::kInputFolder)) {
      text = KnowContent(kind_, param, member, files_, bound, mistakes);
    } else if (FindRule(param, ParamRule::Type::kOutputFolder)) {
      bound.output_paths.emplace_back(param.name, PathOf(param, member));
      continue;
    } else {
      text = CanonicalText(member);
    }
    if (const ParamRule* unkeyed = FindRule(param, ParamRule::Type::kUnkeyed);
        unkeyed && StaysUnkeyed(*unkeyed, text))
      continue;
    if (bound.keyed.size() > 1) bound.keyed += ',';
    bound.keyed.append(Quoted(param.name)).append(":").append(text);
  }
  bound.keyed += '}';
  if (mistakes.size() == mistakes_before && kind_.check) {
    if (const auto message = kind_.check(params.get())) mistakes.push_back({"", *message, ""});
  }
  bound.value = params;
  return bound;
}

}  // namespace puzzle
