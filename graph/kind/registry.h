// The kinds a program knows. Built once in main and passed down; immutable afterwards.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "graph/kind/kind.h"

namespace puzzle {

/// Kinds by name.
class Registry {
 public:
  /// `bodies` may be empty (tables only). Throws BugError on a duplicate kind, an empty output
  /// type, a body without a table, a body that expects other parameters or makes another artifact
  /// than its table says, and one artifact name for two types.
  explicit Registry(std::vector<NodeKind> kinds, std::map<std::string, Body> bodies = {});

  /// nullptr when there is no such kind.
  [[nodiscard]] const NodeKind* Find(std::string_view name) const;
  /// Sorted by name.
  [[nodiscard]] const std::vector<NodeKind>& kinds() const { return kinds_; }

 private:
  std::vector<NodeKind> kinds_;
};

}  // namespace puzzle
