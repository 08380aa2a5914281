// Small kinds for tests of the engine: they make, join and break texts.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "graph/kind/kind.h"
#include "graph/kind/registry.h"
#include "io/archive.h"

namespace puzzle::testing {

/// A text as an artifact.
struct Text {
  static constexpr std::string_view kType = "text";
  std::string text;
  std::string display;

  void Save(ArchiveWriter& writer) const;
  static Text Load(const std::shared_ptr<const ArchiveReader>& reader);
  [[nodiscard]] size_t ResidentBytes() const { return text.size(); }
};

/// A number, for type errors.
struct Number {
  static constexpr std::string_view kType = "number";
  int64_t value = 0;

  void Save(ArchiveWriter& writer) const;
  static Number Load(const std::shared_ptr<const ArchiveReader>& reader);
  [[nodiscard]] size_t ResidentBytes() const { return sizeof value; }
};

/// What tests may look at and change while steps run. Thread-safe.
class Playground {
 public:
  /// Called by `sleep` once per poll, by `together` on each lane of a round, by `text` and `concat`
  /// at their start.
  std::function<void(const std::string& what)> on_start;
  std::atomic<int> running{0}, peak{0};      // bodies of `sleep` and `measure` at once
  std::atomic<int> alone_violations{0};      // other bodies seen by `measure`
  std::atomic<int> loads{0};                 // of texts from archives
  std::map<std::string, int> kind_versions;  // kinds whose version differs from 1
};

/// text{value,display}, concat{separator}(parts: list, first: optional) -> text,
/// upper(in) -> text, count(in) -> number, fail{message}(in: optional), sleep{ms, value,
/// memory_mib, device}(in: optional, on a device), together{lanes, rounds, value, device} (on
/// several lanes), measure{value} (quiet device), stream{rows} (writes as it goes), climb{to} (with
/// save points), file{path}, folder{path}, export{path}(in) (fills a folder), picture{svg},
/// every{...} (one parameter of each type).
[[nodiscard]] Registry MakeToyRegistry(Playground& playground);

}  // namespace puzzle::testing
