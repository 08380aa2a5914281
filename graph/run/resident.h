// Values kept in memory because neighbouring steps are likely to want them again. Thread-safe.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "graph/kind/kind.h"

namespace puzzle {

/// A cache with a budget in bytes that drops what was used least recently. Users keep what they
/// hold: the budget bounds what the cache keeps alive on its own account. What it has dropped, or
/// never kept, is found all the same as long as somebody holds it, so that nothing is in memory
/// twice. The number of values is bounded too, since small ones may hold open files.
class ResidentCache {
 public:
  static constexpr size_t kMaxValues = 256;

  /// `total_bytes` are for its values and what Yield takes together.
  explicit ResidentCache(size_t budget_bytes, uint64_t total_bytes = UINT64_MAX);

  /// The value called `key`, made by `make` if it is not here. Threads that ask for the same key
  /// at once wait for the first one; when it throws, the exception is its own and the next one
  /// tries. A value above the budget is returned without being kept: when its users have let it go
  /// it is made anew.
  /// REQUIRES: `make` does not ask for the same key.
  [[nodiscard]] std::shared_ptr<const void> Get(const std::string& key,
                                                const std::function<SizedValue()>& make);

  /// Drops everything, to make room.
  void Clear();

  /// Somebody takes `bytes` of the total until TakeBack: values that have no room beside them go,
  /// the least recently used first, and no more are kept than have. Returns whether some went.
  bool Yield(uint64_t bytes);
  void TakeBack(uint64_t bytes);

  [[nodiscard]] size_t bytes() const;

 private:
  struct Entry {
    SizedValue value;
    std::list<std::string>::iterator use;
  };
  struct Held {
    std::weak_ptr<const void> value;
    size_t bytes = 0;
  };

  // REQUIRES: mutex_ held.
  [[nodiscard]] size_t Room() const;
  [[nodiscard]] SizedValue DropOldest();
  [[nodiscard]] std::vector<SizedValue> DropTo(size_t room);  // takes out what is more
  // Keeps a value that has room, else remembers it for as long as its users hold it. What had to go
  // for it is to be destroyed after the mutex is free.
  [[nodiscard]] std::vector<SizedValue> Keep(const std::string& key, const SizedValue& value);
  void Remember(const std::string& key, const SizedValue& value);
  [[nodiscard]] std::optional<SizedValue> TakeHeld(const std::string& key);

  const size_t budget_;
  const uint64_t total_;
  uint64_t yielded_ = 0;
  mutable std::mutex mutex_;
  std::condition_variable made_;
  std::unordered_map<std::string, Entry> entries_;
  std::unordered_map<std::string, Held> held_;   // not in entries_: by users, if at all
  std::unordered_map<std::string, int> making_;  // key -> threads waiting for it
  std::list<std::string> uses_;                  // most recent first
  size_t bytes_ = 0;
};

/// What a step takes of a cache's total for as long as it runs.
class YieldedMemory {
 public:
  YieldedMemory(ResidentCache& cache, uint64_t bytes)
      : cache_(cache), bytes_(bytes), has_dropped_(cache.Yield(bytes)) {}
  ~YieldedMemory() { cache_.TakeBack(bytes_); }
  YieldedMemory(const YieldedMemory&) = delete;
  YieldedMemory& operator=(const YieldedMemory&) = delete;

  [[nodiscard]] bool has_dropped() const { return has_dropped_; }

 private:
  ResidentCache& cache_;
  const uint64_t bytes_;
  const bool has_dropped_;
};

/// A cache per device, made when it is first asked for; all cpu lanes share one.
class ResidentCaches {
 public:
  /// The budget is that of each cache, `cpu_bytes` the total of the cpu lanes'.
  explicit ResidentCaches(size_t budget_bytes, uint64_t cpu_bytes = UINT64_MAX)
      : budget_(budget_bytes), cpu_bytes_(cpu_bytes) {}

  [[nodiscard]] ResidentCache& Of(const Device& device);

 private:
  const size_t budget_;
  const uint64_t cpu_bytes_;
  std::mutex mutex_;
  std::map<std::string, std::unique_ptr<ResidentCache>> caches_;
};

}  // namespace puzzle
