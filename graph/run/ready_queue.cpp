#include "graph/run/ready_queue.h"

#include <climits>
#include <cmath>

namespace puzzle {
namespace {

/// Steps of urgency in which the remaining path doubles. Measured seconds differ a little between
/// any two steps; without steps there would be no ties for locality to break.
constexpr double kStepsPerDoubling = 4;
/// Waiting work is overtaken at most so often, and looked past at most so far.
constexpr int kPatience = 16;
constexpr int kReach = 32;
/// Work that gathers many inputs has no neighbours to speak of.
constexpr size_t kMaxInputs = 16;

int Urgency(const LaneWork& work) {
  if (work.alone) return INT_MAX;
  if (!(work.remaining_s > 1e-6)) return INT_MIN;
  return static_cast<int>(std::floor(kStepsPerDoubling * std::log2(work.remaining_s)));
}

}  // namespace

void ReadyQueue::Push(LaneWork work) {
  if (work.inputs.size() > kMaxInputs) work.inputs.clear();
  Level& level = queues_[work.device_type][Urgency(work)];
  for (const uint64_t input : work.inputs) level.readers[input].insert(work.order);
  const uint64_t order = work.order;
  level.works.emplace(order, Level::Entry{std::move(work), 0});
  ++count_;
}

/// The best place: at the first level, a reader of the rarest warm input, else the first in order.
std::optional<ReadyQueue::Place> ReadyQueue::First(Levels& levels,
                                                   const std::vector<uint64_t>& warm) {
  if (levels.empty()) return std::nullopt;
  Place place{&levels, levels.begin(), levels.begin()->second.works.begin()};
  Level& level = place.level->second;
  size_t fewest = level.works.size();  // what all of them read tells nothing
  for (const uint64_t input : warm) {
    const auto readers = level.readers.find(input);
    if (readers == level.readers.end() || readers->second.size() >= fewest) continue;
    fewest = readers->second.size();
    place.entry = level.works.find(*readers->second.begin());
  }
  return place;
}

/// Moves on to what comes next in order. False at the end.
bool ReadyQueue::Next(Place& place) {
  if (++place.entry != place.level->second.works.end()) return true;
  if (++place.level == place.levels->end()) return false;
  place.entry = place.level->second.works.begin();
  return true;
}

LaneWork ReadyQueue::Remove(const Place& place) {
  Level& level = place.level->second;
  LaneWork work = std::move(place.entry->second.work);
  for (const uint64_t input : work.inputs) {
    const auto readers = level.readers.find(input);
    if (readers == level.readers.end()) continue;  // an input that was named twice
    readers->second.erase(work.order);
    if (readers->second.empty()) level.readers.erase(readers);
  }
  level.works.erase(place.entry);
  if (level.works.empty()) place.levels->erase(place.level);
  --count_;
  return work;
}

std::optional<LaneWork> ReadyQueue::Take(std::string_view device_type,
                                         const std::vector<uint64_t>& warm,
                                         const std::function<bool(const LaneWork&)>& fits) {
  std::optional<Place> best;
  std::vector<Levels*> looked_through;  // that of the best first
  for (const std::string_view type : {device_type, std::string_view()}) {
    const auto queue = queues_.find(type);
    if (queue == queues_.end()) continue;
    const auto place = First(queue->second, warm);
    if (!place) continue;
    const bool is_best = !best || place->level->first > best->level->first;
    looked_through.insert(is_best ? looked_through.begin() : looked_through.end(), &queue->second);
    if (is_best) best = place;
  }
  if (!best) return std::nullopt;
  if (fits(best->entry->second.work)) return Remove(*best);
  Level::Entry& head = best->entry->second;
  if (head.work.alone || head.overtaken >= kPatience) return std::nullopt;
  for (Levels* levels : looked_through) {
    Place place{levels, levels->begin(), levels->begin()->second.works.begin()};
    for (int looked = 0; looked < kReach; ++looked) {
      if (fits(place.entry->second.work)) {
        ++head.overtaken;
        return Remove(place);
      }
      if (!Next(place)) break;
    }
  }
  return std::nullopt;
}

std::vector<LaneWork> ReadyQueue::TakeOut(const std::function<bool(const LaneWork&)>& which) {
  std::vector<Place> places;
  for (auto& [type, levels] : queues_) {
    for (auto level = levels.begin(); level != levels.end(); ++level) {
      auto& entries = level->second.works;
      for (auto entry = entries.begin(); entry != entries.end(); ++entry) {
        if (which(entry->second.work)) places.push_back({&levels, level, entry});
      }
    }
  }
  std::vector<LaneWork> works;
  for (const Place& place : places) works.push_back(Remove(place));
  return works;
}

}  // namespace puzzle
