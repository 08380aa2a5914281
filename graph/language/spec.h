// A graph as it is written: JSON text -> GraphSpec, syntax only. What the words mean (kinds, ports,
// parameters, references) is checked by MakePlan. Values; immutable and shareable once parsed.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graph/language/diagnostics.h"
#include "io/json_text.h"

namespace puzzle {

/// A JSON value of the graph and the place to name when something is wrong with it.
struct SpecValue {
  std::shared_ptr<const nlohmann::ordered_json> value;  // nullptr: not given
  std::string pointer;                                  // in the graph file
  std::string setting;             // the whole `--set` argument when the value comes from there
  const JsonText* file = nullptr;  // else the file, which lives as long as the spec
  std::string typed;               // VALUE of a `--set` argument that is no text, letter for letter

  explicit operator bool() const { return value != nullptr; }
};

/// Adds a diagnostic at the place of `value`.
void Complain(const SpecValue& value, std::string message, std::string hint,
              Diagnostics& diagnostics);

/// Parameters for some elements of a `foreach` only.
struct OverrideSpec {
  SpecValue where;  // object: axis -> value or list of values; empty: every element
  std::vector<std::pair<std::string, SpecValue>> params;
};

/// One entry of "nodes".
struct NodeSpec {
  std::string name;  // "blocks", "base/blocks" in a file included as "base"
  size_t file = 0;   // in GraphSpec::files
  SpecValue place;   // the entry itself
  std::string kind;
  std::string doc;
  std::vector<std::pair<std::string, SpecValue>> in;       // port -> text or list of texts
  std::vector<std::pair<std::string, SpecValue>> params;   // as written, before substitution
  std::vector<std::pair<std::string, SpecValue>> foreach;  // axis -> list or "${var}"
  std::vector<SpecValue> exclude;                          // objects: axis -> value or list
  std::vector<OverrideSpec> overrides;                     // later ones win; `--set` comes last
  SpecValue retries;
  SpecValue timeout;
};

/// One file of a graph: the one that was asked for, or one that is included under a prefix.
struct FileSpec {
  std::shared_ptr<const JsonText> text;
  std::string prefix;  // of its nodes: "" or "base/"
  size_t parent = 0;   // the file that includes it
  std::vector<std::pair<std::string, SpecValue>> vars;
  /// Values for some of `vars`, written in `parent` and meant there.
  std::vector<std::pair<std::string, SpecValue>> given;
};

/// A whole graph with the files it includes and the `--set` arguments worked in.
struct GraphSpec {
  std::vector<FileSpec> files;  // the main one first, each after its parent
  std::vector<NodeSpec> nodes;
};

/// Reads the structure of a graph. `settings` are the arguments of `--set`: `vars.x=VALUE`,
/// `NODE.PARAM=VALUE` or `NODE[axis=value,...].PARAM=VALUE`, where VALUE is JSON or else text;
/// `base/vars.x` and `base/NODE` belong to a file included as "base". Included files are found
/// relative to the file that names them.
/// Mistakes go to `diagnostics`; what could be understood is returned all the same, so that later
/// checks can add theirs.
[[nodiscard]] GraphSpec ParseSpec(std::shared_ptr<const JsonText> text,
                                  const std::vector<std::string>& settings,
                                  Diagnostics& diagnostics);

/// True for [A-Za-z_][A-Za-z0-9_-]*: names of nodes, variables and axes.
[[nodiscard]] bool IsName(std::string_view text);

/// A reference to steps: "blocks" or "base/blocks[layer=3,variant=ffn:50%]".
struct Selector {
  std::string node;                                        // names joined by '/'
  std::vector<std::pair<std::string, std::string>> where;  // axis, text of its value
};

/// Splits a reference. On a syntax error returns false and says in `error` what was expected.
[[nodiscard]] bool ParseSelector(std::string_view text, Selector& selector, std::string& error);

}  // namespace puzzle
