// JSON text with positions: what nlohmann::json does not keep and a good message needs.
// Thread-safe (values only).
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace puzzle {

/// Limits for JSON that may be hostile.
struct JsonLimits {
  int max_depth = 64;
  size_t max_bytes = 256u << 20;
  bool allow_comments = true;
  bool allow_nonfinite = false;  // NaN, Infinity and -Infinity, as Python writes them
};

/// A place in a text, both counted from 1 (columns in characters); {0, 0} when unknown.
struct TextPosition {
  int line = 0;
  int column = 0;
};

/// A parsed document and where each of its values begins (an object's member: where its key
/// begins).
class JsonText {
 public:
  /// Parses JSON in UTF-8. Comments (// and /* */) are skipped unless the limits forbid them;
  /// trailing commas are refused. Throws Error "source:line:col: what" on a syntax error, a
  /// duplicate key, NaN/Inf, too deep nesting, or text after the end.
  static JsonText Parse(std::string_view text, const std::string& source,
                        const JsonLimits& limits = {});
  /// Reads and parses a file. Throws Error when it cannot be read.
  static JsonText ParseFile(const std::string& path, const JsonLimits& limits = {});

  JsonText(JsonText&&) noexcept;
  JsonText& operator=(JsonText&&) noexcept;
  ~JsonText();

  [[nodiscard]] const nlohmann::ordered_json& value() const;
  /// Position of the value at a JSON pointer such as "/nodes/blocks/params"; the nearest known
  /// ancestor's when the pointer names nothing.
  [[nodiscard]] TextPosition Find(const std::string& pointer) const;
  [[nodiscard]] const std::string& source() const;

 private:
  JsonText();
  struct State;
  std::unique_ptr<State> state_;
};

/// Whether no value of a JSON text stands in more than `depth` others: what works through values by
/// calling itself needs a bound when they come from somebody else. Text that is no JSON may be
/// both.
[[nodiscard]] bool IsNestedWithin(std::string_view text, int depth);

/// One line without spaces, keys sorted, shortest numbers that read back the same: equal values
/// give equal bytes. Throws Error for NaN, infinity and strings that are not UTF-8.
[[nodiscard]] std::string CanonicalJson(const nlohmann::json& value);

}  // namespace puzzle
