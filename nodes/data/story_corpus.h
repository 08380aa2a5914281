// A corpus of small stories with real grammar, made from nothing: what a demonstration trains its
// parent on. Names, objects, colours, places and numbers are told early and used again later, so
// that a model has to look back to predict them. Thread-safe.
#pragma once

#include <cstdint>
#include <string>

namespace puzzle {

/// What stands between two stories.
inline constexpr char kStorySeparator[] = "\n<|endoftext|>\n";

struct StoryOptions {
  int64_t stories = 3000;
  uint64_t seed = 1;
};

/// `stories` stories of roughly 400 to 700 ASCII characters each, separated by kStorySeparator (and
/// ended by it). The same text for the same options on every platform; a larger `stories` only
/// appends. Throws Error when `stories` is negative.
[[nodiscard]] std::string GenerateStories(const StoryOptions& options = {});

}  // namespace puzzle
