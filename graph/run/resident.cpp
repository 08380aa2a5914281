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
  held_.clear();
  bytes_ = 0;
}

size_t ResidentCache::Room() const {
  return std::min<uint64_t>(budget_, total_ - std::min(total_, yielded_));
}

SizedValue ResidentCache::DropOldest() {
  const auto oldest = entries_.find(uses_.back());
  SizedValue value = std::move(oldest->second.value);
  Remember(oldest->first, value);
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

void ResidentCache::Remember(const std::string& key, const SizedValue& value) {
  std::erase_if(held_, [](const auto& entry) { return entry.second.value.expired(); });
  held_[key] = {value.value, value.bytes};
}

std::optional<SizedValue> ResidentCache::TakeHeld(const std::string& key) {
  const auto found = held_.find(key);
  if (found == held_.end()) return std::nullopt;
  SizedValue value{found->second.value.lock(), found->second.bytes};
  held_.erase(found);
  if (value.value == nullptr) return std::nullopt;
  return value;
}

std::vector<SizedValue> ResidentCache::Keep(const std::string& key, const SizedValue& value) {
  const size_t room = Room();
  if (value.bytes > room) {
    Remember(key, value);
    return {};
  }
  std::vector<SizedValue> dropped = DropTo(room - value.bytes);
  if (entries_.size() >= kMaxValues) dropped.push_back(DropOldest());
  uses_.push_front(key);
  entries_.emplace(key, Entry{value, uses_.begin()});
  bytes_ += value.bytes;
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
  std::vector<SizedValue> dropped;  // destroyed after the mutex is free
  std::unique_lock lock(mutex_);
  while (true) {
    if (const auto it = entries_.find(key); it != entries_.end()) {
      uses_.splice(uses_.begin(), uses_, it->second.use);
      return it->second.value.value;
    }
    if (const std::optional<SizedValue> held = TakeHeld(key)) {
      dropped = Keep(key, *held);
      return held->value;
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
  lock.lock();
  making_.erase(key);
  dropped = Keep(key, value);
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
