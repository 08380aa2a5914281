#include "graph/run/lanes.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <utility>

#include "graph/run/machine.h"
#include "io/error.h"

namespace puzzle {
namespace {

std::string NoLane(const std::string& type) {
  return type.empty() ? "no lane is left" : fmt::format("there is no {} lane (left) for it", type);
}

}  // namespace

bool QuietGate::Admits(Pass pass) {
  const bool here = pass == Pass::kQuiet  ? inside_ == 0
                    : pass == Pass::kLane ? !quiet_inside_ && quiet_waiting_ == 0
                                          : !quiet_inside_;
  if (!here || machine_ == nullptr) return here;
  if (inside_ == 0) return machine_->TryEnter(pass == Pass::kQuiet);
  return pass == Pass::kHost || !machine_->SomebodyWaits();
}

void QuietGate::Enter(Pass pass) {
  constexpr std::chrono::milliseconds kBetweenLooks{10};  // nobody tells what other processes do
  std::unique_lock lock(mutex_);
  if (pass == Pass::kQuiet) ++quiet_waiting_;
  while (!Admits(pass)) {
    machine_ == nullptr ? changed_.wait(lock) : (void)changed_.wait_for(lock, kBetweenLooks);
  }
  if (pass == Pass::kQuiet) {
    --quiet_waiting_;
    quiet_inside_ = true;
  }
  ++inside_;
}

void QuietGate::SetMachine(MachineGate* machine) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return inside_ == 0; });
  machine_ = machine;
}

void QuietGate::Stay() {
  const std::scoped_lock lock(mutex_);
  ++inside_;
}

void QuietGate::Leave(Pass pass) {
  const std::scoped_lock lock(mutex_);
  --inside_;
  if (pass == Pass::kQuiet) quiet_inside_ = false;
  if (inside_ == 0 && machine_ != nullptr) machine_->Leave();
  changed_.notify_all();
}

/// A lane of this machine, used by its own thread only.
class LocalLanes::Worker final : public Lane {
 public:
  Worker(LocalLanes& lanes, int index)
      : lanes_(lanes),
        device_(lanes.options_.devices[static_cast<size_t>(index)]),
        name_(fmt::format("{}#{}", device_.name(), index)) {}

  const Device& device() const override { return device_; }
  const std::string& name() const override { return name_; }
  int threads() const override { return applied_; }
  void Adapt() override {
    const int wanted = Wanted();
    if (wanted == applied_) return;
    applied_ = wanted;
    if (lanes_.options_.set_threads) lanes_.options_.set_threads(wanted);
  }
  void Retire() override {
    if (std::exchange(retired_, true)) return;
    lanes_.Retire(*this);
  }

  void Begin(const LaneWork& work) {
    quiet_ = work.quiet;
    declared_ = work.threads;
    warm_ = work.inputs;
  }
  bool retired() const { return retired_; }
  const std::vector<uint64_t>& warm() const { return warm_; }

 private:
  int Wanted() const {
    if (lanes_.options_.threads_per_lane > 0) return lanes_.options_.threads_per_lane;
    if (quiet_) return lanes_.options_.cores;
    if (declared_ == 0) return lanes_.share_.load(std::memory_order_relaxed);
    return std::min(declared_, lanes_.even_share_.load(std::memory_order_relaxed));
  }

  LocalLanes& lanes_;
  Device device_;
  std::string name_;
  int applied_ = 0;
  bool quiet_ = false;
  int declared_ = 0;
  bool retired_ = false;
  std::vector<uint64_t> warm_;  // inputs of the last work
};

LocalLanes::LocalLanes(LocalLanesOptions options) : options_(std::move(options)) {
  PUZZLE_CHECK(!options_.devices.empty(), "no lanes");
  if (options_.cores <= 0) options_.cores = AvailableCores();
  for (const Device& device : options_.devices) ++alive_[device.type];
  for (size_t i = 0; i < options_.devices.size(); ++i) {
    threads_.emplace_back([this, i] { Serve(static_cast<int>(i)); });
  }
}

LocalLanes::~LocalLanes() {
  {
    const std::scoped_lock lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void LocalLanes::Post(LaneWork work) {
  {
    const std::scoped_lock lock(mutex_);
    const bool served = work.device_type.empty()
                            ? std::any_of(alive_.begin(), alive_.end(),
                                          [](const auto& lanes) { return lanes.second > 0; })
                            : alive_[work.device_type] > 0;
    if (served) {
      queue_.Push(std::move(work));
      changed_.notify_all();
      return;
    }
  }
  work.refuse(NoLane(work.device_type));
}

LocalLanes::Pool& LocalLanes::PoolOf(const Device& device) {
  const std::string name = device.type == "cpu" ? "cpu" : device.name();
  const auto [pool, inserted] = pools_.try_emplace(name);
  if (inserted) {
    const auto limit = options_.memory_bytes.find(name);
    if (limit != options_.memory_bytes.end()) pool->second.limit_bytes = limit->second;
  }
  return pool->second;
}

/// Work that alone exceeds the limit fits once nothing else runs, and then keeps the others out.
bool LocalLanes::Fits(const LaneWork& work, const Pool& pool) {
  if (pool.running == 0) return true;
  if (work.alone || pool.alone || pool.used_bytes > pool.limit_bytes) return false;
  return work.memory_bytes <= pool.limit_bytes - pool.used_bytes;
}

void LocalLanes::Admit(Worker& lane, const LaneWork& work) {
  Pool& pool = PoolOf(lane.device());
  ++pool.running;
  pool.used_bytes += work.memory_bytes;
  pool.alone = work.alone;
  busy_[&lane] = work.threads;
  Share();
}

/// Lanes whose work declared few threads leave the rest to the others.
void LocalLanes::Share() {
  if (busy_.empty()) return;
  const int even = std::max(1, options_.cores / static_cast<int>(busy_.size()));
  int left = options_.cores, undeclared = 0;
  for (const auto& [lane, threads] : busy_) {
    if (threads == 0) {
      ++undeclared;
    } else {
      left -= std::min(threads, even);
    }
  }
  even_share_.store(even, std::memory_order_relaxed);
  share_.store(std::max(1, left / std::max(1, undeclared)), std::memory_order_relaxed);
}

bool LocalLanes::Await(Worker& lane, LaneWork& work) {
  std::unique_lock lock(mutex_);
  while (true) {
    const Pool& pool = PoolOf(lane.device());
    auto taken = queue_.Take(lane.device().type, lane.warm(),
                             [&](const LaneWork& other) { return Fits(other, pool); });
    if (taken) {
      work = std::move(*taken);
      Admit(lane, work);
      return true;
    }
    if (busy_.erase(&lane) > 0) Share();
    if (closing_ && queue_.empty()) return false;
    changed_.wait(lock);
  }
}

void LocalLanes::Serve(int index) {
  Worker lane(*this, index);
  try {
    if (options_.on_start) options_.on_start(lane.device(), index);
  } catch (const std::exception& error) {  // nothing may leave a thread
    lane.Retire();
    return;
  }
  LaneWork work;
  // A lane that goes from step to step stays busy, so that the others' shares do not flutter.
  while (!lane.retired() && Await(lane, work)) {
    {
      const QuietGuard guard(gate_, work.quiet ? QuietGate::Pass::kQuiet : QuietGate::Pass::kLane);
      lane.Begin(work);
      lane.Adapt();
      work.run(lane);
    }
    const std::scoped_lock lock(mutex_);
    Pool& pool = PoolOf(lane.device());
    --pool.running;
    pool.used_bytes -= work.memory_bytes;
    pool.alone = false;
    if (lane.retired() && busy_.erase(&lane) > 0) Share();
    // Whoever waits for memory, or for the end, looks again.
    if (!queue_.empty() || closing_) changed_.notify_all();
  }
}

/// Called by the lane's work. Queued work that no other lane can do is refused.
void LocalLanes::Retire(Worker& lane) {
  std::vector<LaneWork> refused;
  std::string type = lane.device().type;
  {
    const std::scoped_lock lock(mutex_);
    if (--alive_[type] > 0) return;
    const bool none = std::all_of(alive_.begin(), alive_.end(),
                                  [](const auto& lanes) { return lanes.second == 0; });
    if (none) type.clear();
    refused = queue_.TakeAll(type);
  }
  for (const LaneWork& work : refused) work.refuse(NoLane(type));
}

std::vector<Device> ParseDevices(const std::string& text) {
  std::vector<Device> devices;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string part = text.substr(begin, end - begin);
    const size_t colon = part.find(':');
    Device device{part.substr(0, colon), 0};
    bool good = device.type == "cpu" || device.type == "cuda";
    if (colon != std::string::npos) {
      const char* last = part.data() + part.size();
      const auto result = std::from_chars(part.data() + colon + 1, last, device.index);
      good = good && result.ec == std::errc() && result.ptr == last && device.index >= 0;
    }
    if (!good) {
      throw Error(fmt::format("\"{}\" is not a device: expected cpu, cuda or cuda:N", part));
    }
    devices.push_back(std::move(device));
    begin = end + 1;
  }
  return devices;
}

std::vector<Device> DefaultDevices() {
  return std::vector<Device>(static_cast<size_t>(std::min(AvailableCores(), 4)));
}

}  // namespace puzzle
