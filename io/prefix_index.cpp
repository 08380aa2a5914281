#include "io/prefix_index.h"

#include <algorithm>

namespace puzzle {

PrefixIndex::PrefixIndex(std::vector<Entry> entries) : entries_(std::move(entries)) {
  std::sort(entries_.begin(), entries_.end());
}

void PrefixIndex::Narrow(size_t depth, char next, const Entry*& begin, const Entry*& end) {
  // Views compare as unsigned bytes, and a text that ends here sorts before those that go on.
  const auto at_depth = [&](const Entry& entry) {
    return entry.first.size() == depth ? -1 : static_cast<unsigned char>(entry.first[depth]);
  };
  const int byte = static_cast<unsigned char>(next);
  begin = std::partition_point(begin, end, [&](const Entry& e) { return at_depth(e) < byte; });
  end = std::partition_point(begin, end, [&](const Entry& e) { return at_depth(e) == byte; });
}

}  // namespace puzzle
