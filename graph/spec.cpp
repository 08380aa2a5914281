#include "graph/spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/error.h"

namespace puzzle {
namespace {

using nlohmann::ordered_json;

const std::vector<std::string> kTopKeys = {"$schema", "puzzle", "doc", "vars", "nodes"};
const std::vector<std::string> kNodeKeys = {"kind",    "in",        "params", "foreach",
                                            "exclude", "overrides", "doc"};
const std::vector<std::string> kOverrideKeys = {"where", "params"};

/// Walks the document and collects mistakes.
class Parser {
 public:
  Parser(std::shared_ptr<const JsonText> text, Diagnostics& diagnostics)
      : text_(std::move(text)), diagnostics_(diagnostics) {}

  GraphSpec Parse() {
    GraphSpec spec;
    spec.text = text_;
    const ordered_json& root = text_->value();
    if (!root.is_object()) {
      Complain("", "a graph is an object with \"puzzle\", \"vars\" and \"nodes\"");
      return spec;
    }
    CheckKeys(root, "", kTopKeys);
    ParseVersion(root);
    if (const auto vars = root.find("vars"); vars != root.end()) {
      spec.vars = Members(*vars, "/vars", "variable");
    }
    const auto nodes = root.find("nodes");
    if (nodes == root.end()) {
      Complain("", "\"nodes\" is missing");
    } else if (!nodes->is_object()) {
      Complain("/nodes", "expected an object: node name -> node");
    } else {
      for (const auto& [name, node] : nodes->items()) spec.nodes.push_back(ParseNode(name, node));
    }
    return spec;
  }

 private:
  void Complain(const std::string& pointer, std::string message, std::string hint = {}) {
    diagnostics_.Add(*text_, pointer, std::move(message), std::move(hint));
  }

  void CheckKeys(const ordered_json& object, const std::string& pointer,
                 const std::vector<std::string>& known) {
    for (const auto& [key, unused] : object.items()) {
      if (std::find(known.begin(), known.end(), key) == known.end()) {
        Complain(pointer + "/" + PointerToken(key), "unknown key", DidYouMean(key, known));
      }
    }
  }

  void ParseVersion(const ordered_json& root) {
    const auto version = root.find("puzzle");
    if (version == root.end()) {
      Complain("", "\"puzzle\": 1 is missing (the version of the graph language)");
    } else if (*version != 1) {
      Complain("/puzzle",
               "this program reads version 1 of the graph language, not " + version->dump());
    }
  }

  SpecValue Value(const ordered_json& value, std::string pointer) {
    return {std::shared_ptr<const ordered_json>(text_, &value), std::move(pointer), {}};
  }

  /// The members of an object whose keys are names of `what`.
  std::vector<std::pair<std::string, SpecValue>> Members(const ordered_json& object,
                                                         const std::string& pointer,
                                                         std::string_view what) {
    std::vector<std::pair<std::string, SpecValue>> members;
    if (!object.is_object()) {
      Complain(pointer, fmt::format("expected an object: {} -> value", what));
      return members;
    }
    members.reserve(object.size());
    for (const auto& [key, value] : object.items()) {
      std::string place = pointer + "/" + PointerToken(key);
      if (!IsName(key)) {
        Complain(place, fmt::format("\"{}\" cannot be the name of a {}: letters, digits, '_' and "
                                    "'-' are allowed, not starting with a digit or '-'",
                                    key, what));
        continue;
      }
      members.emplace_back(key, Value(value, std::move(place)));
    }
    return members;
  }

  std::string Text(const ordered_json& value, const std::string& pointer) {
    if (value.is_string()) return value.get<std::string>();
    Complain(pointer, "expected a text");
    return {};
  }

  NodeSpec ParseNode(const std::string& name, const ordered_json& value) {
    NodeSpec node;
    node.name = name;
    node.pointer = "/nodes/" + PointerToken(name);
    if (!IsName(name) || name == "vars") {
      Complain(node.pointer,
               fmt::format("\"{}\" cannot be the name of a node: letters, digits, '_' and '-' are "
                           "allowed, not starting with a digit or '-', and not \"vars\"",
                           name));
    }
    if (!value.is_object()) {
      Complain(node.pointer, "expected an object with \"kind\", \"in\" and \"params\"");
      return node;
    }
    CheckKeys(value, node.pointer, kNodeKeys);
    const auto member = [&](const char* key) -> const ordered_json* {
      const auto it = value.find(key);
      return it == value.end() ? nullptr : &*it;
    };
    if (const auto* kind = member("kind")) {
      node.kind = Text(*kind, node.pointer + "/kind");
    } else {
      Complain(node.pointer, "\"kind\" is missing");
    }
    if (const auto* doc = member("doc")) node.doc = Text(*doc, node.pointer + "/doc");
    if (const auto* in = member("in")) node.in = Members(*in, node.pointer + "/in", "port");
    if (const auto* params = member("params")) {
      node.params = Members(*params, node.pointer + "/params", "parameter");
    }
    if (const auto* axes = member("foreach")) {
      node.foreach = Members(*axes, node.pointer + "/foreach", "axis");
      if (axes->is_object() && axes->empty()) {
        Complain(node.pointer + "/foreach", "needs at least one axis, or should be left out");
      }
    }
    if (const auto* exclude = member("exclude")) ParseExclude(*exclude, node);
    if (const auto* overrides = member("overrides")) ParseOverrides(*overrides, node);
    return node;
  }

  void ParseExclude(const ordered_json& list, NodeSpec& node) {
    const std::string pointer = node.pointer + "/exclude";
    if (!list.is_array()) {
      Complain(pointer, "expected a list of objects: axis -> value");
      return;
    }
    for (size_t i = 0; i < list.size(); ++i) {
      const std::string place = fmt::format("{}/{}", pointer, i);
      if (!list[i].is_object() || list[i].empty()) {
        Complain(place, "expected an object: axis -> value");
      } else {
        node.exclude.push_back(Value(list[i], place));
      }
    }
  }

  void ParseOverrides(const ordered_json& list, NodeSpec& node) {
    const std::string pointer = node.pointer + "/overrides";
    if (!list.is_array()) {
      Complain(pointer, "expected a list of {\"where\": ..., \"params\": ...}");
      return;
    }
    for (size_t i = 0; i < list.size(); ++i) {
      const std::string place = fmt::format("{}/{}", pointer, i);
      if (!list[i].is_object()) {
        Complain(place, "expected an object with \"where\" and \"params\"");
        continue;
      }
      CheckKeys(list[i], place, kOverrideKeys);
      OverrideSpec entry;
      const auto where = list[i].find("where");
      if (where == list[i].end() || !where->is_object()) {
        Complain(place, "\"where\" is missing: an object axis -> value");
      } else {
        entry.where = Value(*where, place + "/where");
      }
      if (const auto params = list[i].find("params"); params == list[i].end()) {
        Complain(place, "\"params\" is missing");
      } else {
        entry.params = Members(*params, place + "/params", "parameter");
      }
      node.overrides.push_back(std::move(entry));
    }
  }

  std::shared_ptr<const JsonText> text_;
  Diagnostics& diagnostics_;
};

/// VALUE of a --set argument: JSON when it is JSON, else the text itself.
std::shared_ptr<const ordered_json> SettingValue(const std::string& text) {
  try {
    return std::make_shared<const ordered_json>(JsonText::Parse(text, "--set").value());
  } catch (const Error&) {
    return std::make_shared<const ordered_json>(text);
  }
}

/// Works one `--set` argument into the spec.
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
    SpecValue value{SettingValue(argument_.substr(equals + 1)), {}, argument_};
    if (target == "vars") {
      SetVar(name, std::move(value));
    } else {
      SetParam(target, name, std::move(value));
    }
  }

 private:
  void Complain(std::string message, std::string hint = {}) {
    diagnostics_.Add({"--set " + argument_, {}, {}, std::move(message), std::move(hint)});
  }

  void SetVar(const std::string& name, SpecValue value) {
    for (auto& [existing, old] : spec_.vars) {
      if (existing == name) {
        value.pointer = old.pointer;
        old = std::move(value);
        return;
      }
    }
    std::vector<std::string> names;
    for (const auto& [existing, unused] : spec_.vars) names.push_back(existing);
    Complain(fmt::format("the graph has no variable \"{}\"", name), DidYouMean(name, names));
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
        entry.where = {std::make_shared<const ordered_json>(std::move(where)), {}, argument_};
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

bool IsName(std::string_view text) {
  if (text.empty()) return false;
  const auto letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  };
  if (!letter(text.front())) return false;
  return std::all_of(text.begin(), text.end(),
                     [&](char c) { return letter(c) || (c >= '0' && c <= '9') || c == '-'; });
}

void GraphSpec::Complain(const SpecValue& value, std::string message, std::string hint,
                         Diagnostics& diagnostics) const {
  if (!value.setting.empty()) {
    diagnostics.Add({"--set " + value.setting, {}, {}, std::move(message), std::move(hint)});
  } else {
    diagnostics.Add(*text, value.pointer, std::move(message), std::move(hint));
  }
}

GraphSpec ParseSpec(std::shared_ptr<const JsonText> text, const std::vector<std::string>& settings,
                    Diagnostics& diagnostics) {
  GraphSpec spec = Parser(std::move(text), diagnostics).Parse();
  for (const std::string& setting : settings) Setting(setting, spec, diagnostics).Apply();
  return spec;
}

bool ParseSelector(std::string_view text, Selector& selector, std::string& error) {
  const size_t open = text.find('[');
  selector.node = std::string(text.substr(0, open));
  selector.where.clear();
  if (!IsName(selector.node)) {
    error = fmt::format("\"{}\" is not a reference: expected \"node\" or \"node[axis=value,...]\"",
                        text);
    return false;
  }
  if (open == std::string_view::npos) return true;
  if (text.back() != ']' || text.size() < open + 2) {
    error = fmt::format("\"{}\" lacks its closing ']'", text);
    return false;
  }
  std::string_view rest = text.substr(open + 1, text.size() - open - 2);
  while (true) {
    const size_t comma = rest.find(',');
    const std::string_view item = rest.substr(0, comma);
    const size_t equals = item.find('=');
    if (equals == std::string_view::npos || !IsName(item.substr(0, equals))) {
      error =
          fmt::format("\"{}\": expected axis=value between the brackets, got \"{}\"", text, item);
      return false;
    }
    const std::string_view axis = item.substr(0, equals);
    for (const auto& [other, unused] : selector.where) {
      if (other == axis) {
        error = fmt::format("\"{}\" names the axis \"{}\" twice", text, axis);
        return false;
      }
    }
    selector.where.emplace_back(axis, item.substr(equals + 1));
    if (comma == std::string_view::npos) return true;
    rest.remove_prefix(comma + 1);
  }
}

}  // namespace puzzle
