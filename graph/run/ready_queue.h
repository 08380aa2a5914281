// Steps that are ready for a lane, in the order in which lanes should take them. Not thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace puzzle {

class Lane;

/// Work for some lane.
struct LaneWork {
  double remaining_s = 0;          // longest path from here to the end: more is sooner
  uint64_t order = 0;              // ties: less is sooner. REQUIRES: unique
  bool quiet = false;              // nothing else may run meanwhile
  bool alone = false;              // nothing else on its device meanwhile; goes first
  std::string device_type;         // the only type of device it runs on; "": any
  uint64_t memory_bytes = 0;       // what it will occupy on its device
  uint64_t shared_bytes = 0;       // what it holds there together with others
  int threads = 0;                 // it uses at most so many; 0: as many as its lane has
  int lanes = 1;                   // that it takes together
  std::vector<uint64_t> inputs;    // what it reads, as numbers that stand for content
  std::function<void(Lane&)> run;  // must not throw
  /// Called in place of `run` when no lane is left that could. Must not throw.
  std::function<void(const std::string& why)> refuse;
};

/// The most urgent work first. Urgency is the remaining path in steps of about a fifth: within one
/// step a lane gets what shares an input with its last work (the input that the fewest others
/// share, so that it stays resident until nobody needs it), else what comes first in the plan.
class ReadyQueue {
 public:
  void Push(LaneWork work);

  /// Takes work for a lane of `device_type` whose last work read `warm`. Work that does not `fit`
  /// is left for later, and a few others may overtake it, but not for ever. Returns nothing when
  /// all has to wait.
  [[nodiscard]] std::optional<LaneWork> Take(std::string_view device_type,
                                             const std::vector<uint64_t>& warm,
                                             const std::function<bool(const LaneWork&)>& fits);
  /// Takes out everything for which `which` holds.
  [[nodiscard]] std::vector<LaneWork> TakeOut(const std::function<bool(const LaneWork&)>& which);

  [[nodiscard]] bool empty() const { return count_ == 0; }
  [[nodiscard]] size_t size() const { return count_; }

 private:
  /// Work of equal urgency.
  struct Level {
    struct Entry {
      LaneWork work;
      int overtaken = 0;
    };
    std::map<uint64_t, Entry> works;                           // by order
    std::unordered_map<uint64_t, std::set<uint64_t>> readers;  // input -> orders
  };
  using Levels = std::map<int, Level, std::greater<>>;  // by urgency
  /// A place in the queue.
  struct Place {
    Levels* levels = nullptr;
    Levels::iterator level;
    std::map<uint64_t, Level::Entry>::iterator entry;
  };

  static std::optional<Place> First(Levels& levels, const std::vector<uint64_t>& warm);
  static bool Next(Place& place);
  LaneWork Remove(const Place& place);

  std::map<std::string, Levels, std::less<>> queues_;  // by device type
  size_t count_ = 0;
};

}  // namespace puzzle
