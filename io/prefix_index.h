// Finding which of many texts a text begins with. Immutable, so thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace puzzle {

/// Texts with ids, in a sorted list that each further byte narrows down.
class PrefixIndex {
 public:
  using Entry = std::pair<std::string_view, int32_t>;

  PrefixIndex() = default;
  /// The texts are not copied. REQUIRES: none is empty, none occurs twice.
  explicit PrefixIndex(std::vector<Entry> entries);

  /// Calls `use(id, length)` for each of the texts that `text` begins with, shortest first.
  template <typename Use>
  void ForEachPrefix(std::string_view text, Use use) const {
    const Entry* begin = entries_.data();
    const Entry* end = begin + entries_.size();
    for (size_t depth = 0; depth < text.size() && begin != end; ++depth) {
      Narrow(depth, text[depth], begin, end);
      if (begin != end && begin->first.size() == depth + 1) use(begin->second, depth + 1);
    }
  }

  /// Bytes of the longest of the texts that `text` begins with; 0 when there is none.
  [[nodiscard]] size_t LongestPrefix(std::string_view text) const {
    size_t longest = 0;
    ForEachPrefix(text, [&](int32_t, size_t length) { longest = length; });
    return longest;
  }

 private:
  /// From entries that agree in their first `depth` bytes to those that go on with `next`.
  static void Narrow(size_t depth, char next, const Entry*& begin, const Entry*& end);

  std::vector<Entry> entries_;  // sorted by text
};

}  // namespace puzzle
