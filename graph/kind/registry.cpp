#include "graph/kind/registry.h"

#include <fmt/format.h>

#include <algorithm>

#include "io/error.h"

namespace puzzle {

Registry::Registry(std::vector<NodeKind> kinds, std::map<std::string, Body> bodies)
    : kinds_(std::move(kinds)) {
  std::sort(kinds_.begin(), kinds_.end(),
            [](const NodeKind& a, const NodeKind& b) { return a.name < b.name; });
  for (size_t i = 0; i < kinds_.size(); ++i) {
    NodeKind& kind = kinds_[i];
    PUZZLE_CHECK(i == 0 || kinds_[i - 1].name != kind.name,
                 fmt::format("kind \"{}\" is registered twice", kind.name));
    PUZZLE_CHECK(!kind.output.empty(), fmt::format("kind \"{}\" has no output", kind.name));
    PUZZLE_CHECK(kind.make_params != nullptr,
                 fmt::format("kind \"{}\" has no parameters struct", kind.name));
    if (const auto body = bodies.find(kind.name); body != bodies.end()) {
      kind.body = std::move(body->second);
      bodies.erase(body);
    }
  }
  PUZZLE_CHECK(bodies.empty(), fmt::format("body of \"{}\" has no table", bodies.begin()->first));
}

const NodeKind* Registry::Find(std::string_view name) const {
  const auto it = std::lower_bound(
      kinds_.begin(), kinds_.end(), name,
      [](const NodeKind& kind, std::string_view wanted) { return kind.name < wanted; });
  return it != kinds_.end() && it->name == name ? &*it : nullptr;
}

}  // namespace puzzle
