// Values kept in memory because neighbouring steps are likely to want them again. Thread-safe.
#pragma once

#include <condition_variable>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "graph/kind/kind.h"

namespace puzzle {

/// A cache with a budget in bytes that drops what was used least recently. Users keep what they
/// hold: the budget bounds what the cache keeps alive on its own account. The number of values is
/// bounded too, since small ones may hold open files.
class ResidentCache {
 public:
  static constexpr size_t kMaxValues = 256;

  explicit ResidentCache(size_t budget_bytes);

  /// The value called `key`, made by `make` if it is not here. Threads that ask for the same key
  /// at once wait for the first one; when it throws, the exception is its own and the next one
  /// tries. A value above the budget is returned without being kept.
  /// REQUIRES: `make` does not ask for the same key.
  [[nodiscard]] std::shared_ptr<const void> Get(const std::string& key,
                                                const std::function<SizedValue()>& make);

  /// Drops everything, to make room.
  void Clear();

  [[nodiscard]] size_t bytes() const;

 private:
  struct Entry {
    SizedValue value;
    std::list<std::string>::iterator use;
  };

  const size_t budget_;
  mutable std::mutex mutex_;
  std::condition_variable made_;
  std::unordered_map<std::string, Entry> entries_;
  std::unordered_map<std::string, int> making_;  // key -> threads waiting for it
  std::list<std::string> uses_;                  // most recent first
  size_t bytes_ = 0;
};

/// A cache per device, made when it is first asked for; all cpu lanes share one.
class ResidentCaches {
 public:
  /// The budget is that of each cache.
  explicit ResidentCaches(size_t budget_bytes) : budget_(budget_bytes) {}

  [[nodiscard]] ResidentCache& Of(const Device& device);

 private:
  const size_t budget_;
  std::mutex mutex_;
  std::map<std::string, std::unique_ptr<ResidentCache>> caches_;
};

}  // namespace puzzle
