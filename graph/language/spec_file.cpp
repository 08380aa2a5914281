// One graph file and the files that it includes: structure only.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "graph/language/spec_parts.h"
#include "io/error.h"

namespace puzzle {
namespace {

using nlohmann::ordered_json;
using Members = std::vector<std::pair<std::string, SpecValue>>;

constexpr size_t kMaxFiles = 1000;

const std::vector<std::string> kTopKeys = {"$schema", "puzzle", "doc", "vars", "include", "nodes"};
const std::vector<std::string> kIncludeKeys = {"file", "vars"};
const std::vector<std::string> kNodeKeys = {"kind",      "in",  "params",  "foreach", "exclude",
                                            "overrides", "doc", "retries", "timeout"};
const std::vector<std::string> kOverrideKeys = {"where", "params"};

std::string Canonical(const std::string& path) {
  std::error_code failure;
  const auto canonical = std::filesystem::weakly_canonical(path, failure);
  return failure ? path : canonical.string();
}

/// Walks one document and collects mistakes; included files get a parser of their own.
class FileParser {
 public:
  /// `open` names the files that are being read, outermost first, this one included.
  FileParser(GraphSpec& spec, size_t file, std::vector<std::string> open, Diagnostics& diagnostics)
      : spec_(spec),
        file_(file),
        text_(spec.files[file].text),
        prefix_(spec.files[file].prefix),
        open_(std::move(open)),
        diagnostics_(diagnostics) {}

  void Parse() {
    const ordered_json& root = text_->value();
    if (!root.is_object()) {
      Complain("", "a graph is an object with \"puzzle\", \"vars\" and \"nodes\"");
      return;
    }
    CheckKeys(root, "", kTopKeys);
    ParseVersion(root);
    for (const char* key : {"$schema", "doc"}) {
      if (const auto* text = Member(root, key)) (void)Text(*text, std::string("/") + key);
    }
    if (const auto* vars = Member(root, "vars")) {
      spec_.files[file_].vars = ParseMembers(*vars, "/vars", "variable");
    }
    const auto* include = Member(root, "include");
    if (include != nullptr) ParseInclude(*include);
    const auto* nodes = Member(root, "nodes");
    if (nodes == nullptr) {
      if (include == nullptr) Complain("", "\"nodes\" is missing");
    } else if (!nodes->is_object()) {
      Complain("/nodes", "expected an object: node name -> node");
    } else {
      for (const auto& [name, node] : nodes->items()) spec_.nodes.push_back(ParseNode(name, node));
    }
  }

 private:
  void Complain(const std::string& pointer, std::string message, std::string hint = {}) {
    diagnostics_.Add(*text_, pointer, std::move(message), std::move(hint));
  }

  static const ordered_json* Member(const ordered_json& object, const char* key) {
    const auto it = object.find(key);
    return it == object.end() ? nullptr : &*it;
  }

  void CheckKeys(const ordered_json& object, const std::string& pointer,
                 const std::vector<std::string>& known) {
    for (const auto& [key, unused] : object.items()) {
      if (std::find(known.begin(), known.end(), key) == known.end()) {
        Complain(pointer + "/" + PointerToken(key), "unknown key", DidYouMean(key, known));
      }
    }
  }

  /// Names of nodes and includes stand before '.' in --set, where "vars" means something else.
  void CheckName(const std::string& name, const std::string& pointer, std::string_view what) {
    if (IsName(name) && name != "vars") return;
    Complain(pointer,
             fmt::format("\"{}\" cannot be the name of {}: letters, digits, '_' and '-' are "
                         "allowed, not starting with a digit or '-', and not \"vars\"",
                         name, what));
  }

  void ParseVersion(const ordered_json& root) {
    const auto* version = Member(root, "puzzle");
    if (version == nullptr) {
      Complain("", "\"puzzle\": 1 is missing (the version of the graph language)");
    } else if (*version != 1) {
      Complain("/puzzle",
               "this program reads version 1 of the graph language, not " + version->dump());
    }
  }

  SpecValue Value(const ordered_json& value, std::string pointer) {
    return {std::shared_ptr<const ordered_json>(text_, &value),
            std::move(pointer),
            {},
            text_.get(),
            {}};
  }

  /// The members of an object whose keys are names of `what`.
  Members ParseMembers(const ordered_json& object, const std::string& pointer,
                       std::string_view what) {
    Members members;
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

  void ParseInclude(const ordered_json& include) {
    if (!include.is_object()) {
      Complain("/include", "expected an object: prefix -> {\"file\": ..., \"vars\": ...}");
      return;
    }
    for (const auto& [name, entry] : include.items()) {
      const std::string pointer = "/include/" + PointerToken(name);
      CheckName(name, pointer, "an include");
      if (!entry.is_object()) {
        Complain(pointer, "expected an object with \"file\" and \"vars\"");
        continue;
      }
      CheckKeys(entry, pointer, kIncludeKeys);
      Members given;
      if (const auto* vars = Member(entry, "vars")) {
        given = ParseMembers(*vars, pointer + "/vars", "variable");
      }
      if (const auto* file = Member(entry, "file")) {
        const std::string path = Text(*file, pointer + "/file");
        if (!path.empty()) {
          Include(name, path, pointer + "/file", std::move(given));
        } else if (file->is_string()) {
          Complain(pointer + "/file", "expected the name of a file");
        }
      } else {
        Complain(pointer, "\"file\" is missing");
      }
    }
  }

  void Include(const std::string& name, const std::string& file, const std::string& pointer,
               Members given) {
    const std::filesystem::path folder = std::filesystem::path(text_->source()).parent_path();
    const std::string path = (folder / file).lexically_normal().string();
    std::vector<std::string> open = open_;
    open.push_back(Canonical(path));
    if (std::find(open_.begin(), open_.end(), open.back()) != open_.end()) {
      Complain(pointer, fmt::format("\"{}\" includes itself, directly or through others", path));
      return;
    }
    if (spec_.files.size() >= kMaxFiles) {
      Complain(pointer, fmt::format("more than {} included files", kMaxFiles));
      return;
    }
    FileSpec included;
    try {
      included.text = std::make_shared<const JsonText>(JsonText::ParseFile(path));
    } catch (const Error& error) {
      Complain(pointer, error.what());
      return;
    }
    included.prefix = prefix_ + name + '/';
    included.parent = file_;
    included.given = std::move(given);
    spec_.files.push_back(std::move(included));
    const size_t index = spec_.files.size() - 1;
    FileParser(spec_, index, std::move(open), diagnostics_).Parse();
    CheckGiven(spec_.files[index]);
  }

  void CheckGiven(const FileSpec& included) {
    std::vector<std::string> names;
    for (const auto& [name, unused] : included.vars) names.push_back(name);
    const std::set<std::string_view> known(names.begin(), names.end());
    for (const auto& [name, place] : included.given) {
      if (known.contains(name)) continue;
      Complain(place.pointer,
               fmt::format("{} has no variable \"{}\"", included.text->source(), name),
               DidYouMean(name, names));
    }
  }

  NodeSpec ParseNode(const std::string& name, const ordered_json& value) {
    NodeSpec node;
    node.name = prefix_ + name;
    node.file = file_;
    node.place = Value(value, "/nodes/" + PointerToken(name));
    const std::string& pointer = node.place.pointer;
    CheckName(name, pointer, "a node");
    if (!value.is_object()) {
      Complain(pointer, "expected an object with \"kind\", \"in\" and \"params\"");
      return node;
    }
    CheckKeys(value, pointer, kNodeKeys);
    if (const auto* kind = Member(value, "kind")) {
      node.kind = Text(*kind, pointer + "/kind");
    } else {
      Complain(pointer, "\"kind\" is missing");
    }
    if (const auto* doc = Member(value, "doc")) node.doc = Text(*doc, pointer + "/doc");
    if (const auto* in = Member(value, "in")) node.in = ParseMembers(*in, pointer + "/in", "port");
    if (const auto* params = Member(value, "params")) {
      node.params = ParseMembers(*params, pointer + "/params", "parameter");
    }
    if (const auto* axes = Member(value, "foreach")) {
      node.foreach = ParseMembers(*axes, pointer + "/foreach", "axis");
      if (axes->is_object() && axes->empty()) {
        Complain(pointer + "/foreach", "needs at least one axis, or should be left out");
      }
    }
    if (const auto* exclude = Member(value, "exclude")) ParseExclude(*exclude, node);
    if (const auto* overrides = Member(value, "overrides")) ParseOverrides(*overrides, node);
    if (const auto* retries = Member(value, "retries")) {
      node.retries = Value(*retries, pointer + "/retries");
    }
    if (const auto* timeout = Member(value, "timeout")) {
      node.timeout = Value(*timeout, pointer + "/timeout");
    }
    return node;
  }

  void ParseExclude(const ordered_json& list, NodeSpec& node) {
    const std::string pointer = node.place.pointer + "/exclude";
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
    const std::string pointer = node.place.pointer + "/overrides";
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
      const auto* where = Member(list[i], "where");
      if (where == nullptr || !where->is_object()) {
        Complain(place, "\"where\" is missing: an object axis -> value");
      } else {
        entry.where = Value(*where, place + "/where");
      }
      if (const auto* params = Member(list[i], "params")) {
        entry.params = ParseMembers(*params, place + "/params", "parameter");
      } else {
        Complain(place, "\"params\" is missing");
      }
      node.overrides.push_back(std::move(entry));
    }
  }

  GraphSpec& spec_;
  const size_t file_;
  const std::shared_ptr<const JsonText> text_;
  const std::string prefix_;
  const std::vector<std::string> open_;
  Diagnostics& diagnostics_;
};

}  // namespace

void ReadFiles(std::shared_ptr<const JsonText> text, GraphSpec& spec, Diagnostics& diagnostics) {
  std::vector<std::string> open = {Canonical(text->source())};
  FileSpec main;
  main.text = std::move(text);
  spec.files.push_back(std::move(main));
  FileParser(spec, 0, std::move(open), diagnostics).Parse();
}

}  // namespace puzzle
