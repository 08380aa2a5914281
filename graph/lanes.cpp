#include "graph/lanes.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <charconv>

#include "io/error.h"

namespace puzzle {
namespace {

/// Cores that this process may use (a container may give it fewer than there are).
int Cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace

void QuietGate::Enter(Pass pass) {
  std::unique_lock lock(mutex_);
  switch (pass) {
    case Pass::kQuiet:
      ++quiet_waiting_;
      changed_.wait(lock, [&] { return inside_ == 0; });
      --quiet_waiting_;
      quiet_inside_ = true;
      break;
    case Pass::kLane:
      changed_.wait(lock, [&] { return !quiet_inside_ && quiet_waiting_ == 0; });
      break;
    case Pass::kHost:
      changed_.wait(lock, [&] { return !quiet_inside_; });
      break;
  }
  ++inside_;
}

void QuietGate::Stay() {
  const std::scoped_lock lock(mutex_);
  ++inside_;
}

void QuietGate::Leave(Pass pass) {
  const std::scoped_lock lock(mutex_);
  --inside_;
  if (pass == Pass::kQuiet) quiet_inside_ = false;
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
    const int share =
        quiet_ ? lanes_.options_.cores : lanes_.share_.load(std::memory_order_relaxed);
    const int wanted =
        lanes_.options_.threads_per_lane > 0 ? lanes_.options_.threads_per_lane : share;
    if (wanted == applied_) return;
    applied_ = wanted;
    if (lanes_.options_.set_threads) lanes_.options_.set_threads(wanted);
  }
  void set_quiet(bool quiet) { quiet_ = quiet; }

 private:
  LocalLanes& lanes_;
  Device device_;
  std::string name_;
  int applied_ = 0;
  bool quiet_ = false;
};

bool LocalLanes::Later::operator()(const LaneWork& a, const LaneWork& b) const {
  if (a.remaining_s != b.remaining_s) return a.remaining_s < b.remaining_s;
  return a.order > b.order;
}

LocalLanes::LocalLanes(LocalLanesOptions options) : options_(std::move(options)) {
  PUZZLE_CHECK(!options_.devices.empty(), "no lanes");
  if (options_.cores <= 0) options_.cores = Cores();
  for (size_t i = 0; i < options_.devices.size(); ++i) {
    threads_.emplace_back([this, i] { Serve(static_cast<int>(i)); });
  }
}

LocalLanes::~LocalLanes() {
  {
    const std::scoped_lock lock(mutex_);
    closing_ = true;
  }
  posted_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void LocalLanes::Post(LaneWork work) {
  {
    const std::scoped_lock lock(mutex_);
    queue_.push(std::move(work));
  }
  posted_.notify_one();
}

void LocalLanes::Share() {
  share_.store(std::max(1, options_.cores / std::max(1, busy_)), std::memory_order_relaxed);
}

void LocalLanes::Serve(int index) {
  Worker lane(*this, index);
  if (options_.on_start) options_.on_start(lane.device(), index);
  bool busy = false;
  while (true) {
    std::unique_lock lock(mutex_);
    // A lane that goes from step to step stays busy, so that the others' shares do not flutter.
    if (queue_.empty() && busy) {
      busy = false;
      --busy_;
      Share();
    }
    posted_.wait(lock, [&] { return closing_ || !queue_.empty(); });
    if (queue_.empty()) return;
    LaneWork work = queue_.top();
    queue_.pop();
    if (!busy) {
      busy = true;
      ++busy_;
      Share();
    }
    lock.unlock();
    const QuietGuard guard(gate_, work.quiet ? QuietGate::Pass::kQuiet : QuietGate::Pass::kLane);
    lane.set_quiet(work.quiet);
    lane.Adapt();
    work.run(lane);
  }
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
  return std::vector<Device>(static_cast<size_t>(std::min(Cores(), 4)));
}

}  // namespace puzzle
