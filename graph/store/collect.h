// Removing results from a store: what may go, and how it goes while runs are alive. Reading all of
// them through, to find what is damaged.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "graph/store/inventory.h"
#include "graph/store/store.h"

namespace puzzle {

struct CollectOptions {
  std::optional<uint64_t> max_bytes;  // the store shall be no larger
  std::optional<double> older_s;      // what was not used for so long shall go
};

/// What `cache gc` would do.
struct CollectPlan {
  std::vector<const StoredResult*> results;  // in the order in which they go
  std::vector<const Leftover*> leftovers;
  uint64_t freed = 0;
  uint64_t left = 0;          // bytes that stay
  size_t kept_by_pins = 0;    // results that had to go otherwise
  size_t kept_by_runs = 0;    // likewise
  std::vector<LiveRun> runs;  // alive now
  bool within_budget = true;  // `left` is no more than max_bytes
};

/// Chooses what to remove: leftovers; what is older; and then, until the rest is small enough, what
/// was used least recently, of one hour first what is quickly made again for its size. Never what a
/// pin or a live run needs. REQUIRES: `inventory` outlives the result.
[[nodiscard]] CollectPlan PlanCollection(Store& store, const Inventory& inventory,
                                         const CollectOptions& options, int64_t now_ns);

struct Removed {
  size_t results = 0;
  size_t leftovers = 0;
  uint64_t bytes = 0;
  size_t kept = 0;  // came into use meanwhile
};

/// Removes what a plan names, unless it came into use meanwhile. Runs may come and go. Throws Error
/// when it cannot be known whether something is in use, or when a file cannot be removed.
Removed Collect(Store& store, const CollectPlan& plan);

/// A result or leftover that is not as it should be.
struct Damage {
  std::string step;
  std::string key;
  std::string path;
  std::string what;
};

/// Reads every artifact and compares its digest. `progress` is called before each. What a live run
/// is about to finish or to replace is no damage.
[[nodiscard]] std::vector<Damage> VerifyStore(
    Store& store, const Inventory& inventory,
    const std::function<void(size_t done, size_t total)>& progress);

/// Removes damaged results, so that the next run makes them again, after a second look at each
/// while nobody else may touch it. Returns how many.
size_t RemoveDamaged(Store& store, const std::vector<Damage>& damage);

}  // namespace puzzle
