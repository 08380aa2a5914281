// What is in a store: results, pins and leftovers, as `puzzle cache` shows and removes them. Reads
// names, sizes and times; opens no artifact. Not for use during a run.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "graph/store/store.h"

namespace puzzle {

/// One finished result.
struct StoredResult {
  Record record;
  uint64_t bytes = 0;    // of artifact and record
  int64_t made_ns = 0;   // when the artifact was written
  int64_t used_ns = 0;   // when a run last used it, to the hour
  bool current = false;  // what its step name had last
  bool pinned = false;
  bool needed_by_pin = false;  // pinned, or an input of what is pinned
};

/// A file that belongs to no result.
struct Leftover {
  std::string path;
  std::string what;
  uint64_t bytes = 0;
  std::string key;  // of an artifact without record or a record without artifact
};

struct Inventory {
  std::vector<StoredResult> results;  // by step name, the newest first
  std::vector<Leftover> leftovers;
  uint64_t bytes = 0;  // of all of them
};

/// Throws Error when there is no such store. REQUIRES: `store` outlives the result.
[[nodiscard]] Inventory TakeInventory(Store& store);

/// The results that a user means by a pattern of steps such as "blocks[layer=3,*]" (what each had
/// last, else the newest), or by the first digits of a key. Throws Error when there is none.
[[nodiscard]] std::vector<const StoredResult*> FindResults(const Inventory& inventory,
                                                           const std::string& name);
/// Whether a name means this result, where all that a step ever had count.
[[nodiscard]] bool Means(const std::string& name, const StoredResult& result);

/// Keeps a result, and all that it was made from, from `cache gc`. Throws Error.
void Pin(Store& store, const StoredResult& result);
void Unpin(Store& store, const StoredResult& result);
[[nodiscard]] bool IsPinned(Store& store, std::string_view key);

/// "blocks[layer=3]" -> "blocks".
[[nodiscard]] std::string_view NodeOfStep(std::string_view step);

}  // namespace puzzle
