// Parameters of a step: from JSON values to a filled Params struct and to the canonical text that
// enters the key. Thread-compatible.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "graph/kind/kind.h"
#include "graph/store/files.h"

namespace puzzle {

/// Checked parameters of one step.
struct BoundParams {
  std::shared_ptr<const void> value;  // the kind's Params struct
  /// Canonical JSON of everything that decides the result: defaults filled in, names sorted,
  /// numbers in one spelling, files by content.
  std::string keyed;
  std::vector<std::pair<std::string, std::string>> input_paths;   // parameter, path
  std::vector<std::shared_ptr<const DigestedInput>> inputs;       // what is known of them
  std::vector<std::pair<std::string, std::string>> output_paths;  // parameter, path
};

/// What is wrong with one parameter; `param` is empty for a condition across several.
struct ParamMistake {
  std::string param;
  std::string message;
  std::string hint;
};

/// Binds parameters of one kind again and again.
class ParamBinder {
 public:
  /// REQUIRES: `kind` and `files` outlive the binder. `files` may be nullptr: then files are not
  /// looked at.
  ParamBinder(const NodeKind& kind, FileDigester* files);

  /// Position of a parameter in the kind's table, or -1.
  [[nodiscard]] int Find(const std::string& name) const;
  [[nodiscard]] std::vector<std::string> Names() const;
  /// True when the parameter at a position of the table is a text.
  [[nodiscard]] bool IsText(int index) const;

  /// Binds one step. `given[i]` is the value of the i-th parameter, nullptr for the default.
  /// Appends every mistake to `mistakes`; the result is usable only if there was none.
  [[nodiscard]] BoundParams Bind(const std::vector<const nlohmann::ordered_json*>& given,
                                 std::vector<ParamMistake>& mistakes) const;

 private:
  const NodeKind& kind_;
  FileDigester* files_;
  std::vector<size_t> sorted_;  // table positions in order of name
};

/// "integer", "list of numbers", ...: the type of a parameter in words.
[[nodiscard]] std::string TypeName(const ParamMember& member);
/// The value of a parameter in canonical JSON.
[[nodiscard]] std::string CanonicalText(const ParamMember& member);
/// Any JSON value in canonical form: names sorted, one spelling per number, no white space.
[[nodiscard]] std::string CanonicalText(const nlohmann::json& value);
/// The rule in words ("at least 1"), or "" when it restricts nothing.
[[nodiscard]] std::string RuleText(const ParamRule& rule);
[[nodiscard]] const ParamRule* FindRule(const ParamSpec& param, ParamRule::Type type);

}  // namespace puzzle
