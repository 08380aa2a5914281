// The parser behind JsonText: strict JSON (RFC 8259) plus optional comments. Thread-safe (a
// function of its arguments).
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "io/json_text.h"

namespace puzzle {

/// Where a value begins and, for an object or array, where its children do, in the same order.
struct JsonPlace {
  TextPosition position;
  std::vector<JsonPlace> children;
};

/// The value of a text; `place` receives a tree of the same form. Throws Error
/// "source:line:col: what".
[[nodiscard]] nlohmann::ordered_json ParseJson(std::string_view text, const std::string& source,
                                               const JsonLimits& limits, JsonPlace& place);

}  // namespace puzzle
