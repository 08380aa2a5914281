// Variables, `${...}` and `foreach`: everything of the graph language that is replaced by plain
// values before kinds are looked at. Values; thread-compatible.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graph/language/spec.h"

namespace puzzle {

/// What all that a graph stands for may come to: a kilobyte of variables that repeat each other can
/// mean more than any machine has. Counted before memory is spent. Belongs to one thread.
class Budget {
 public:
  static constexpr size_t kMaxText = 1 << 20;     // bytes of one text
  static constexpr int kMaxDepth = 64;            // of lists in lists
  static constexpr size_t kMaxCost = 256u << 20;  // bytes of everything, short texts apart
  static constexpr size_t kFreeText = 64;         // a text of so many bytes costs nothing

  /// False, and nothing is spent, when there is not so much left.
  [[nodiscard]] bool Spend(size_t cost) {
    if (cost > kMaxCost - spent_) return false;
    spent_ += cost;
    return true;
  }

 private:
  size_t spent_ = 0;
};

/// What a text of so many bytes costs.
[[nodiscard]] inline size_t CostOfText(size_t bytes) {
  return bytes > Budget::kFreeText ? bytes : 0;
}

/// What `${name}` stands for at some place: the axes of the element at hand, then the variables.
/// `${vars.name}` is always the variable.
class Scope {
 public:
  /// REQUIRES: `budget` outlives the scope and its copies.
  explicit Scope(Budget& budget) : budget_(&budget) {}
  [[nodiscard]] Budget& budget() const { return *budget_; }
  /// REQUIRES: the value outlives this scope.
  void SetVar(const std::string& name, const nlohmann::ordered_json* value);
  /// Hides a variable of the same name. REQUIRES: as above.
  void SetAxis(const std::string& name, const nlohmann::ordered_json* value);
  [[nodiscard]] const nlohmann::ordered_json* Find(std::string_view reference) const;
  /// Everything that may be written between the braces.
  [[nodiscard]] std::vector<std::string> Names() const;
  /// How a variable was typed on the command line: 1.10 is 1.1 to a number parameter and 1.10 to a
  /// text. REQUIRES: the text outlives this scope.
  void SetTyped(const std::string& var, std::string_view text) { typed_[var] = text; }
  /// What `reference` was typed as; "" when it is no variable that was.
  [[nodiscard]] std::string_view TypedOf(std::string_view reference) const;
  /// `value`, which Find(reference) gave, as it appears in names and texts. REQUIRES: a scalar.
  [[nodiscard]] std::string TextOf(std::string_view reference,
                                   const nlohmann::ordered_json& value) const;

 private:
  Budget* budget_;
  std::map<std::string, std::string_view, std::less<>> typed_;
  std::map<std::string, const nlohmann::ordered_json*, std::less<>> vars_;
  std::vector<std::pair<std::string, const nlohmann::ordered_json*>> axes_;
};

/// Why a value could not be substituted.
struct SubstituteError {
  std::string message;
  std::string hint;
};

/// True when a string somewhere inside `value` contains `${`.
[[nodiscard]] bool HasReference(const nlohmann::ordered_json& value);

/// Replaces `${name}` in all strings inside `value`: a string that is exactly one reference takes
/// the value with its type, anything else is concatenated as text. `$${` stands for a plain `${`.
/// Returns nullopt and fills `error` when a reference is unknown, a list stands inside a text, or
/// the result would be more than the budget allows.
[[nodiscard]] std::optional<nlohmann::ordered_json> Substitute(const nlohmann::ordered_json& value,
                                                               const Scope& scope,
                                                               SubstituteError& error);

/// A scalar as it appears in names and texts: 3, 0.5, true, ffn:50%. REQUIRES: a scalar.
[[nodiscard]] std::string ScalarText(const nlohmann::ordered_json& scalar);
/// The shortest text that reads back as `value`; 1 and 1.0 give the same.
[[nodiscard]] std::string NumberText(double value);

/// How many layers a checkpoint has: models are known above the engine. Throws Error naming the
/// file and what is wrong with it. Empty: `layers_of` is refused.
using LayerCounter = std::function<int64_t(const std::string& checkpoint)>;

/// The variables of a file, with {"range": [first, end]} and {"layers_of": checkpoint} worked out.
/// Variables may refer to each other; circles are diagnostics. `outer` is the scope of the file
/// that includes this one, which its `given` values refer to.
[[nodiscard]] std::map<std::string, nlohmann::ordered_json> EvaluateVars(
    const FileSpec& file, const Scope& outer, const LayerCounter& layers_of,
    Diagnostics& diagnostics);
/// What the variables of a file were typed as on the command line (Scope::SetTyped), those included
/// that stand for such a one and nothing else. `outer` as above. Views into the spec.
[[nodiscard]] std::map<std::string, std::string_view, std::less<>> TypedVars(const FileSpec& file,
                                                                             const Scope& outer);
/// Like Substitute for a value that is to be a text: what was typed stays as it was typed.
[[nodiscard]] std::optional<nlohmann::ordered_json> SubstituteAsText(const SpecValue& value,
                                                                     const Scope& scope,
                                                                     SubstituteError& error);
/// What a value without references stands for: {"range": ...} and {"layers_of": ...} become lists,
/// everything but those, lists and scalars is a diagnostic and becomes null.
[[nodiscard]] nlohmann::ordered_json EvaluateSpecial(const SpecValue& place,
                                                     nlohmann::ordered_json value,
                                                     const LayerCounter& layers_of, Budget& budget,
                                                     Diagnostics& diagnostics);

/// One axis of a `foreach`. Elements are known by the text of their values.
struct Axis {
  std::string name;
  std::vector<nlohmann::ordered_json> values;
  std::vector<std::string> texts;
};

/// A `foreach` written out: the cartesian product of its axes (the last one fastest) without the
/// excluded elements. A node without `foreach` has no axes and one element.
struct Expansion {
  std::vector<Axis> axes;
  std::vector<std::vector<uint32_t>> elements;  // per element, an index into each axis
  /// "[layer=3,variant=ffn:50%]", or "" when there are no axes.
  [[nodiscard]] std::string Label(size_t element) const;
  /// Bytes that no label has more of.
  [[nodiscard]] size_t LongestLabel() const;
};

/// Expands the `foreach` of a node. `vars` holds the variables only.
[[nodiscard]] Expansion Expand(const NodeSpec& node, const Scope& vars,
                               const LayerCounter& layers_of, Diagnostics& diagnostics);

/// A partial assignment (`exclude`, `where`) made ready to be compared with elements.
class ElementFilter {
 public:
  /// Unknown axes are diagnostics at the place of `where`.
  ElementFilter(const SpecValue& where, const Expansion& expansion, const Scope& vars,
                Diagnostics& diagnostics);
  [[nodiscard]] bool Matches(const std::vector<uint32_t>& element) const;

 private:
  std::vector<std::pair<size_t, std::vector<bool>>> allowed_;  // axis, per value
  bool broken_ = false;
};

}  // namespace puzzle
