#include "graph/run/resident.h"

#include <vector>

namespace puzzle {

ResidentCache::ResidentCache(size_t budget_bytes) : budget_(budget_bytes) {}

size_t ResidentCache::bytes() const {
  const std::scoped_lock lock(mutex_);
  return bytes_;
}

void ResidentCache::Clear() {
  std::unordered_map<std::string, Entry> dropped;  // destroyed after the mutex is free
  const std::scoped_lock lock(mutex_);
  dropped.swap(entries_);
  uses_.clear();
  bytes_ = 0;
}

std::shared_ptr<const void> ResidentCache::Get(const std::string& key,
                                               const std::function<SizedValue()>& make) {
  std::unique_lock lock(mutex_);
  while (true) {
    if (const auto it = entries_.find(key); it != entries_.end()) {
      uses_.splice(uses_.begin(), uses_, it->second.use);
      return it->second.value.value;
    }
    if (making_.emplace(key, 0).second) break;
    made_.wait(lock);
  }
  lock.unlock();
  SizedValue value;
  try {
    value = make();
  } catch (...) {
    lock.lock();
    making_.erase(key);
    made_.notify_all();
    throw;
  }
  std::vector<SizedValue> dropped;  // destroyed after the mutex is free
  lock.lock();
  making_.erase(key);
  if (value.bytes <= budget_) {
    while (!uses_.empty() && (bytes_ + value.bytes > budget_ || entries_.size() >= kMaxValues)) {
      const auto oldest = entries_.find(uses_.back());
      bytes_ -= oldest->second.value.bytes;
      dropped.push_back(std::move(oldest->second.value));
      entries_.erase(oldest);
      uses_.pop_back();
    }
    uses_.push_front(key);
    entries_.emplace(key, Entry{value, uses_.begin()});
    bytes_ += value.bytes;
  }
  made_.notify_all();
  lock.unlock();
  return value.value;
}

ResidentCache& ResidentCaches::Of(const Device& device) {
  const std::string name = device.type == "cpu" ? "cpu" : device.name();
  const std::scoped_lock lock(mutex_);
  auto& cache = caches_[name];
  if (!cache) cache = std::make_unique<ResidentCache>(budget_);
  return *cache;
}

}  // namespace puzzle
