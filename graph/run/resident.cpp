#include "graph/run/resident.h"

#include <algorithm>
#include <utility>

namespace puzzle {

ResidentCache::ResidentCache(size_t budget_bytes, uint64_t total_bytes)
    : budget_(budget_bytes), total_(total_bytes) {}

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

size_t ResidentCache::Room() const {
  return std::min<uint64_t>(budget_, total_ - std::min(total_, yielded_));
}

SizedValue ResidentCache::DropOldest() {
  const auto oldest = entries_.find(uses_.back());
  SizedValue value = std::move(oldest->second.value);
  bytes_ -= value.bytes;
  entries_.erase(oldest);
  uses_.pop_back();
  return value;
}

std::vector<SizedValue> ResidentCache::DropTo(size_t room) {
  std::vector<SizedValue> dropped;
  while (!uses_.empty() && bytes_ > room) dropped.push_back(DropOldest());
  return dropped;
}

bool ResidentCache::Yield(uint64_t bytes) {
  std::vector<SizedValue> dropped;  // destroyed after the mutex is free
  const std::scoped_lock lock(mutex_);
  yielded_ += bytes;
  dropped = DropTo(Room());
  return !dropped.empty();
}

void ResidentCache::TakeBack(uint64_t bytes) {
  const std::scoped_lock lock(mutex_);
  yielded_ -= bytes;
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
  if (const size_t room = Room(); value.bytes <= room) {
    dropped = DropTo(room - value.bytes);
    if (entries_.size() >= kMaxValues) dropped.push_back(DropOldest());
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
  if (!cache)
    cache = std::make_unique<ResidentCache>(budget_, name == "cpu" ? cpu_bytes_ : UINT64_MAX);
  return *cache;
}

}  // namespace puzzle
