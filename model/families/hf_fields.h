// Typed access to the fields of a config.json, with messages that name them. Thread-safe (reads
// only).
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

namespace puzzle {

/// A JSON object that outlives this. Failures are Errors "where: field: expected ..., got ...". The
/// value null counts as absent.
class HfFields {
 public:
  using Json = nlohmann::ordered_json;

  HfFields(const Json& object, std::string where);

  /// nullptr when absent.
  [[nodiscard]] const Json* Find(const char* name) const;
  /// Whether the field is there, null or not.
  [[nodiscard]] bool Has(const char* name) const;
  [[nodiscard]] std::optional<int64_t> FindInt(const char* name) const;
  /// An absent field is a failure.
  [[nodiscard]] int64_t Int(const char* name) const;
  [[nodiscard]] double Number(const char* name, double fallback) const;
  [[nodiscard]] bool Bool(const char* name, bool fallback) const;
  /// Throws Error when an option has another value than `value`, which it has when it is absent.
  void RequireBool(const char* name, bool value) const;
  [[nodiscard]] std::string Text(const char* name, const char* fallback) const;
  [[noreturn]] void Wrong(const char* name, const char* expected, const Json& got) const;
  [[nodiscard]] const std::string& where() const { return where_; }

 private:
  const Json& object_;
  std::string where_;
};

}  // namespace puzzle
