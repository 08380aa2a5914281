#include "bench/simulate/virtual_run.h"

#include <algorithm>
#include <list>
#include <queue>
#include <set>
#include <unordered_map>
#include <utility>

#include "graph/run/ready_queue.h"
#include "io/error.h"

namespace puzzle {
namespace {

/// Carries one thing after another.
class Pipe {
 public:
  explicit Pipe(double bytes_per_s) : bytes_per_s_(bytes_per_s) {}

  /// When `bytes` that are ready at `now` have passed.
  double Carry(double now, double bytes) {
    free_s_ = std::max(now, free_s_) + bytes / bytes_per_s_;
    return free_s_;
  }

 private:
  double bytes_per_s_;
  double free_s_ = 0;
};

/// What a machine has in memory, or is reading.
class Shelf {
 public:
  explicit Shelf(double room_bytes) : room_bytes_(room_bytes) {}

  /// When it is, or will be, there; nullptr when it has to be read.
  const double* Find(uint64_t content) {
    const auto found = places_.find(content);
    if (found == places_.end()) return nullptr;
    items_.splice(items_.end(), items_, found->second);
    return &found->second->there_s;
  }

  void Put(uint64_t content, double bytes, double there_s) {
    items_.push_back({content, bytes, there_s});
    places_[content] = std::prev(items_.end());
    used_bytes_ += bytes;
    while (used_bytes_ > room_bytes_ && items_.size() > 1) {
      used_bytes_ -= items_.front().bytes;
      places_.erase(items_.front().content);
      items_.pop_front();
    }
  }

 private:
  struct Item {
    uint64_t content;
    double bytes;
    double there_s;
  };
  double room_bytes_;
  double used_bytes_ = 0;
  std::list<Item> items_;  // the least recently used first
  std::unordered_map<uint64_t, std::list<Item>::iterator> places_;
};

struct Machine {
  Pipe link;
  Shelf shelf;
};

constexpr size_t kNoLane = SIZE_MAX;

/// What happens next. Of two at the same time the one that was foreseen first.
struct Event {
  double at_s = 0;
  uint64_t order = 0;
  StepId step = 0;
  size_t lane = kNoLane;
  bool published = false;  // else the step leaves its lane

  bool operator>(const Event& other) const {
    return std::pair(at_s, order) > std::pair(other.at_s, other.order);
  }
};

class VirtualRunner {
 public:
  VirtualRunner(const Plan& plan, const Forecast& forecast, const std::vector<VirtualStep>& steps,
                const Plant& plant)
      : plan_(plan),
        forecast_(forecast),
        steps_(steps),
        plant_(plant),
        store_(plant.store_bytes_per_s),
        machines_(plant.machines, {Pipe(plant.link_bytes_per_s), Shelf(plant.memory_bytes)}),
        warm_(plant.machines * plant.lanes),
        missing_(plan.steps.size()) {
    for (size_t lane = 0; lane < warm_.size(); ++lane) idle_.insert(lane);
    run_.spans.resize(plan.steps.size());
  }

  VirtualRun Run() {
    for (StepId id = 0; id < plan_.steps.size(); ++id) {
      missing_[id] = plan_.predecessors(id).size();
      if (missing_[id] == 0) Ready(id);
    }
    Dispatch();
    while (!events_.empty()) {
      const Event event = events_.top();
      events_.pop();
      now_s_ = event.at_s;
      event.published ? Publish(event.step) : Leave(event.step, event.lane);
      // Everything of an instant has happened before lanes choose.
      if (events_.empty() || events_.top().at_s > now_s_) Dispatch();
    }
    PUZZLE_CHECK(queue_.empty(), "a virtual run ended with steps in its queue");
    run_.makespan_s = now_s_;
    return std::move(run_);
  }

 private:
  void Ready(StepId id) {
    if (plan_.kind(id).needs == Needs::kHost) return Begin(id, kNoLane);
    LaneWork work;
    work.remaining_s = forecast_.remaining_s[id];
    work.order = id;
    for (const Cargo& cargo : steps_[id].reads) work.inputs.push_back(cargo.content);
    queue_.Push(std::move(work));
  }

  void Dispatch() {
    const auto fits = [](const LaneWork&) { return true; };
    while (!queue_.empty() && !idle_.empty()) {
      const size_t lane = *idle_.begin();
      auto work = queue_.Take("cuda", warm_[lane], fits);
      PUZZLE_CHECK(work.has_value(), "the queue keeps work that fits");
      idle_.erase(idle_.begin());
      warm_[lane] = std::move(work->inputs);
      Begin(static_cast<StepId>(work->order), lane);
    }
  }

  [[nodiscard]] Machine& MachineOf(size_t lane) {
    return machines_[lane == kNoLane ? 0 : lane / plant_.lanes];
  }

  double Carry(Machine& machine, double bytes) {
    return std::max(machine.link.Carry(now_s_, bytes), store_.Carry(now_s_, bytes));
  }

  /// When all that a step reads is in the memory of its machine.
  double Read(StepId id, Machine& machine) {
    double there_s = now_s_;
    for (const Cargo& cargo : steps_[id].reads) {
      const double* held_s = machine.shelf.Find(cargo.content);
      if (held_s != nullptr) {
        there_s = std::max(there_s, *held_s);
        continue;
      }
      const double read_s = Carry(machine, cargo.bytes);
      machine.shelf.Put(cargo.content, cargo.bytes, read_s);
      run_.read_bytes += cargo.bytes;
      there_s = std::max(there_s, read_s);
    }
    return there_s;
  }

  void Begin(StepId id, size_t lane) {
    VirtualRun::Span& span = run_.spans[id];
    span.on_lane = lane != kNoLane;
    span.taken_s = now_s_;
    span.began_s = Read(id, MachineOf(lane));
    span.ended_s = span.began_s + steps_[id].seconds + plant_.seconds_around_step;
    if (span.on_lane) {
      run_.waiting_s += span.began_s - span.taken_s;
      run_.busy_s += span.ended_s - span.began_s;
    }
    events_.push({span.ended_s, ++foreseen_, id, lane, false});
  }

  void Leave(StepId id, size_t lane) {
    if (lane != kNoLane) idle_.insert(lane);
    const double bytes = steps_[id].result_bytes;
    run_.written_bytes += bytes;
    run_.spans[id].published_s = Carry(MachineOf(lane), bytes);
    events_.push({run_.spans[id].published_s, ++foreseen_, id, lane, true});
  }

  void Publish(StepId id) {
    for (const StepId next : plan_.successors(id)) {
      if (--missing_[next] == 0) Ready(next);
    }
  }

  const Plan& plan_;
  const Forecast& forecast_;
  const std::vector<VirtualStep>& steps_;
  const Plant& plant_;
  Pipe store_;
  std::vector<Machine> machines_;
  ReadyQueue queue_;
  std::set<size_t> idle_;
  std::vector<std::vector<uint64_t>> warm_;  // per lane: what its last step read
  std::vector<size_t> missing_;              // per step: inputs that are not there yet
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  uint64_t foreseen_ = 0;
  double now_s_ = 0;
  VirtualRun run_;
};

}  // namespace

VirtualRun RunVirtually(const Plan& plan, const Forecast& forecast,
                        const std::vector<VirtualStep>& steps, const Plant& plant) {
  PUZZLE_CHECK(steps.size() == plan.steps.size() && forecast.remaining_s.size() == steps.size() &&
                   plant.machines > 0 && plant.lanes > 0,
               "arguments of a virtual run");
  return VirtualRunner(plan, forecast, steps, plant).Run();
}

}  // namespace puzzle
