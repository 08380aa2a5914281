#include "graph/kind/registry.h"

#include <fmt/format.h>

#include <algorithm>

#include "io/error.h"

namespace puzzle {

namespace {

// A body reads its parameters and writes its artifact through untyped pointers, so that what table
// and body mean by them has to be compared once.
void CheckFits(const NodeKind& kind, const Body& body) {
  PUZZLE_CHECK(body.params == kind.params_type,
               fmt::format("table and body of \"{}\" have different parameter structs", kind.name));
  PUZZLE_CHECK(body.output == kind.output,
               fmt::format("the table of \"{}\" promises \"{}\", its body makes \"{}\"", kind.name,
                           kind.output, body.output));
}

// An artifact is handed on by its type name, and read as what the consumer knows under that name.
void CheckOneTypePerName(const std::vector<NodeKind>& kinds) {
  std::map<std::string_view, const NodeKind*> makers;
  for (const NodeKind& kind : kinds) {
    if (!kind.body.run) continue;
    const auto [first, is_new] = makers.emplace(kind.output, &kind);
    PUZZLE_CHECK(is_new || first->second->body.artifact == kind.body.artifact,
                 fmt::format("\"{}\" and \"{}\" mean different artifacts by \"{}\"",
                             first->second->name, kind.name, kind.output));
  }
}

}  // namespace

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
      CheckFits(kind, body->second);
      kind.body = std::move(body->second);
      bodies.erase(body);
    }
  }
  PUZZLE_CHECK(bodies.empty(), fmt::format("body of \"{}\" has no table", bodies.begin()->first));
  CheckOneTypePerName(kinds_);
}

const NodeKind* Registry::Find(std::string_view name) const {
  const auto it = std::lower_bound(
      kinds_.begin(), kinds_.end(), name,
      [](const NodeKind& kind, std::string_view wanted) { return kind.name < wanted; });
  return it != kinds_.end() && it->name == name ? &*it : nullptr;
}

}  // namespace puzzle
