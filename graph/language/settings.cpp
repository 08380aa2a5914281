// `--set` arguments.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "graph/language/spec_parts.h"
#include "io/error.h"

namespace puzzle {
namespace {

using nlohmann::ordered_json;

/// VALUE of a --set argument: JSON when it is JSON, else the text itself.
std::shared_ptr<const ordered_json> SettingValue(const std::string& text) {
  try {
    return std::make_shared<const ordered_json>(JsonText::Parse(text, "--set").value());
  } catch (const Error&) {
    return std::make_shared<const ordered_json>(text);
  }
}

/// One argument on its way into the spec.
class Setting {
 public:
  Setting(const std::string& argument, GraphSpec& spec, Diagnostics& diagnostics)
      : argument_(argument), spec_(spec), diagnostics_(diagnostics) {}

  void Apply() {
    // '=' also stands inside [...], so the target is read from the left.
    const size_t name_end = std::min(argument_.find_first_of("[.="), argument_.size());
    size_t dot = name_end;
    if (dot < argument_.size() && argument_[dot] == '[') {
      const size_t close = argument_.find("].", dot);
      dot = close == std::string::npos ? close : close + 1;
    }
    const size_t equals = dot == std::string::npos ? dot : argument_.find('=', dot);
    if (equals == std::string::npos || argument_[dot] != '.' || equals == dot + 1) {
      Complain("expected vars.NAME=VALUE, NODE.PARAM=VALUE or NODE[axis=value].PARAM=VALUE");
      return;
    }
    const std::string target = argument_.substr(0, dot);
    const std::string name = argument_.substr(dot + 1, equals - dot - 1);
    const std::string typed = argument_.substr(equals + 1);
    SpecValue value{SettingValue(typed), {}, argument_, nullptr, {}};
    if (!value.value->is_string()) value.typed = typed;
    if (target == "vars" || target.ends_with("/vars")) {
      SetVar(target.substr(0, target.size() - std::string_view("vars").size()), name,
             std::move(value));
    } else {
      SetParam(target, name, std::move(value));
    }
  }

 private:
  void Complain(std::string message, std::string hint = {}) {
    diagnostics_.Add({"--set " + argument_, {}, {}, std::move(message), std::move(hint)});
  }

  void SetVar(const std::string& prefix, const std::string& name, SpecValue value) {
    std::vector<std::string> names;
    for (FileSpec& file : spec_.files) {
      if (file.prefix != prefix) continue;
      for (auto& [existing, old] : file.vars) {
        names.push_back(existing);
        if (existing != name) continue;
        value.pointer = old.pointer;
        old = std::move(value);
        std::erase_if(file.given, [&](const auto& given) { return given.first == name; });
        return;
      }
    }
    Complain(fmt::format("the graph has no variable \"{}{}\"", prefix, name),
             DidYouMean(name, names));
  }

  void SetParam(const std::string& target, const std::string& name, SpecValue value) {
    Selector selector;
    std::string error;
    if (!ParseSelector(target, selector, error)) {
      Complain(error);
      return;
    }
    std::vector<std::string> names = {"vars"};
    for (NodeSpec& node : spec_.nodes) {
      names.push_back(node.name);
      if (node.name != selector.node) continue;
      OverrideSpec entry;
      if (!selector.where.empty()) {
        ordered_json where = ordered_json::object();
        for (const auto& [axis, text] : selector.where) where[axis] = text;
        entry.where = {
            std::make_shared<const ordered_json>(std::move(where)), {}, argument_, nullptr, {}};
      }
      entry.params.emplace_back(name, std::move(value));
      node.overrides.push_back(std::move(entry));
      return;
    }
    Complain(fmt::format("the graph has no node \"{}\"", selector.node),
             DidYouMean(selector.node, names));
  }

  const std::string& argument_;
  GraphSpec& spec_;
  Diagnostics& diagnostics_;
};

}  // namespace

void ApplySetting(const std::string& argument, GraphSpec& spec, Diagnostics& diagnostics) {
  Setting(argument, spec, diagnostics).Apply();
}

}  // namespace puzzle
