// Texts about kinds: a JSON Schema of graphs for editors, and tables for people. Thread-safe.
#pragma once

#include <string>

#include "graph/kind/registry.h"

namespace puzzle {

/// JSON Schema (draft 2020-12) of graph files with the kinds of `registry`.
[[nodiscard]] std::string GraphSchema(const Registry& registry);

/// One line per kind.
[[nodiscard]] std::string KindList(const Registry& registry);
/// Everything about one kind: inputs, parameters with types, defaults and limits.
[[nodiscard]] std::string KindTable(const NodeKind& kind);
/// All kinds as JSON.
[[nodiscard]] std::string KindsJson(const Registry& registry);

}  // namespace puzzle
