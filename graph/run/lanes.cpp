#include "graph/run/lanes.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <set>
#include <utility>

#include "graph/run/lane_team.h"
#include "graph/run/machine.h"
#include "io/error.h"

namespace puzzle {

QuietGate::Verdict QuietGate::Ask(Pass pass) {
  const bool here = pass == Pass::kQuiet  ? inside_ == 0
                    : pass == Pass::kLane ? !quiet_inside_ && quiet_waiting_ == 0
                                          : !quiet_inside_;
  if (!here) return Verdict::kWaitsForUs;
  if (machine_ == nullptr || (stopping_ && stopping_())) return Verdict::kEnters;
  const bool admitted = inside_ == 0 ? machine_->TryEnter(pass == Pass::kQuiet)
                                     : pass == Pass::kHost || !machine_->SomebodyWaits();
  return admitted ? Verdict::kEnters : Verdict::kWaitsForOthers;
}

void QuietGate::Enter(Pass pass) {
  constexpr std::chrono::milliseconds kBetweenLooks{10};  // nobody tells what other processes do
  std::unique_lock lock(mutex_);
  if (pass == Pass::kQuiet) ++quiet_waiting_;
  const auto begin = std::chrono::steady_clock::now();
  for (Verdict verdict; (verdict = Ask(pass)) != Verdict::kEnters;) {
    if (verdict == Verdict::kWaitsForOthers && !told_ && tell_ &&
        std::chrono::steady_clock::now() - begin >= patience_) {
      told_ = true;
      tell_(pass == Pass::kQuiet
                ? "waits to measure until steps of another run on this machine have ended"
                : "waits: another run on this machine measures, or is about to, and wants "
                  "to be alone");
    }
    machine_ == nullptr ? changed_.wait(lock) : (void)changed_.wait_for(lock, kBetweenLooks);
  }
  if (pass == Pass::kQuiet) --quiet_waiting_;
  Admit(pass);
}

bool QuietGate::TryEnter(Pass pass) {
  const std::scoped_lock lock(mutex_);
  if (Ask(pass) != Verdict::kEnters) return false;
  Admit(pass);
  return true;
}

void QuietGate::Admit(Pass pass) {
  told_ = false;
  if (pass == Pass::kQuiet) quiet_inside_ = true;
  ++inside_;
}

void QuietGate::SetMachine(MachineGate* machine, Tell tell, std::function<bool()> stopping,
                           std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return inside_ == 0; });
  machine_ = machine;
  tell_ = std::move(tell);
  stopping_ = std::move(stopping);
  patience_ = patience;
}

void QuietGate::Stay() {
  const std::scoped_lock lock(mutex_);
  ++inside_;
}

void QuietGate::Leave(Pass pass) {
  const std::scoped_lock lock(mutex_);
  --inside_;
  if (pass == Pass::kQuiet) quiet_inside_ = false;
  if (machine_ != nullptr) {
    if (inside_ == 0) {
      machine_->Leave();
    } else if (pass == Pass::kQuiet) {  // its result is still being saved
      machine_->Share();
    }
  }
  changed_.notify_all();
}

/// A lane of this machine. Used by its own thread, but for what others have to say under the lanes'
/// mutex while it waits.
class LocalLanes::Worker final : public Lane {
 public:
  Worker(LocalLanes& lanes, int index)
      : lanes_(lanes),
        device_(lanes.options_.devices[static_cast<size_t>(index)]),
        index_(index),
        name_(fmt::format("{}#{}", device_.name(), index)) {}

  const Device& device() const override { return device_; }
  const std::string& name() const override { return name_; }
  int index() const { return index_; }
  int threads() const override { return applied_; }
  void Adapt() override {
    const int wanted = Wanted();
    if (wanted == applied_) return;
    applied_ = wanted;
    if (lanes_.options_.set_threads) lanes_.options_.set_threads(wanted);
  }
  void Retire() override {
    if (!retired_.exchange(true)) lanes_.RefuseUnserved();
  }

  std::vector<Lane*> team() override { return {members_.begin(), members_.end()}; }
  void OnEach(const std::function<void(size_t)>& work) override {
    if (team_ == nullptr) return work(0);
    team_->OnEach([&](size_t number) {
      if (number > 0) members_[number]->Adapt();
      work(number);
    });
  }
  Lane& failed() override { return team_ == nullptr ? *this : *members_[team_->failed()]; }

  bool retired() const { return retired_; }
  const std::vector<uint64_t>& warm() const { return warm_; }

  // Of what this lane does next. REQUIRES: the lanes' mutex held, and the lane waits.
  bool is_free() const { return waits_ && !retired_; }
  void Wait(bool waits) { waits_ = waits; }
  void Begin(const LaneWork& work, std::vector<Worker*> members, std::shared_ptr<LaneTeam> team) {
    waits_ = false;
    quiet_ = work.quiet;
    declared_ = work.threads;
    warm_ = work.inputs;
    members_ = std::move(members);
    team_ = std::move(team);
    leads_ = members_.front() == this;
  }
  bool is_taken() const { return !leads_; }

  // On the lane's thread: to the end of what it began.
  void ServeTeam() {
    const auto place = std::find(members_.begin(), members_.end(), this) - members_.begin();
    team_->Serve(static_cast<size_t>(place));
    leads_ = true;
  }
  void DismissTeam() {
    if (team_ != nullptr) team_->Dismiss();
    team_.reset();
  }
  const std::vector<Worker*>& members() const { return members_; }

 private:
  int Wanted() const {
    if (lanes_.options_.threads_per_lane > 0) return lanes_.options_.threads_per_lane;
    if (quiet_) return lanes_.options_.cores;
    if (declared_ == 0) return lanes_.share_.load(std::memory_order_relaxed);
    return std::min(declared_, lanes_.even_share_.load(std::memory_order_relaxed));
  }

  LocalLanes& lanes_;
  Device device_;
  int index_;
  std::string name_;
  int applied_ = 0;
  std::atomic<bool> retired_{false};
  bool waits_ = false;
  bool quiet_ = false;
  int declared_ = 0;
  std::vector<uint64_t> warm_;      // inputs of the last work
  std::vector<Worker*> members_;    // of its team, the leader first
  std::shared_ptr<LaneTeam> team_;  // none where it is alone
  bool leads_ = true;
};

LocalLanes::LocalLanes(LocalLanesOptions options) : options_(std::move(options)) {
  PUZZLE_CHECK(!options_.devices.empty(), "no lanes");
  if (options_.cores <= 0) options_.cores = AvailableCores();
  for (size_t i = 0; i < options_.devices.size(); ++i) {
    workers_.push_back(std::make_unique<Worker>(*this, static_cast<int>(i)));
  }
  for (const auto& worker : workers_) {
    threads_.emplace_back([this, lane = worker.get()] { Serve(*lane); });
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

std::vector<Device> LocalLanes::Alive() const {
  std::vector<Device> devices;
  for (const auto& worker : workers_) {
    if (!worker->retired()) devices.push_back(worker->device());
  }
  return devices;
}

/// A type of device that has lanes for the work; of several the one that is no cpu. nullopt: none.
std::optional<std::string> LocalLanes::ServedBy(const LaneWork& work) const {
  std::optional<std::string> found;
  for (const auto& [type, lanes] : LanesTogether(Alive())) {
    const bool serves =
        (work.device_type.empty() || type == work.device_type) && lanes >= work.lanes;
    if (serves && (!found || *found == "cpu")) found = type;
  }
  return found;
}

bool LocalLanes::IsServed(const LaneWork& work) const {
  if (work.lanes > 1) return ServedBy(work).has_value();
  return std::any_of(workers_.begin(), workers_.end(), [&](const auto& worker) {
    return !worker->retired() &&
           (work.device_type.empty() || worker->device().type == work.device_type);
  });
}

std::string LocalLanes::WhyNotServed(const LaneWork& work) const {
  const std::string& type = work.device_type;
  if (work.lanes > 1) {
    return fmt::format("it takes {} lanes of {} together, and there are {} (left)", work.lanes,
                       type.empty() ? "one type of device" : type,
                       LanesText(LanesTogether(Alive())));
  }
  return type.empty() ? "no lane is left" : fmt::format("there is no {} lane (left) for it", type);
}

void LocalLanes::Post(LaneWork work) {
  std::string why;
  {
    const std::scoped_lock lock(mutex_);
    if (IsServed(work)) {
      if (work.lanes > 1) work.device_type = *ServedBy(work);
      queue_.Push(std::move(work));
      changed_.notify_all();
      return;
    }
    why = WhyNotServed(work);
  }
  work.refuse(why);
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

/// Work that alone exceeds the limit fits once nothing else runs or waits to be saved, and then
/// keeps the others out.
bool LocalLanes::Fits(const LaneWork& work, const Pool& pool) {
  if (pool.running == 0 && pool.held_bytes == 0) return true;
  const uint64_t used = pool.used_bytes + pool.held_bytes;
  if (work.alone || pool.alone || used > pool.limit_bytes) return false;
  const uint64_t shared = pool.shared_bytes.empty() ? 0 : *pool.shared_bytes.rbegin();
  const uint64_t left = pool.limit_bytes - used;
  return work.memory_bytes <= left &&
         std::max(shared, work.shared_bytes) <= left - work.memory_bytes;
}

/// Saving needs no lane, so that work which waits for it does not wait for ever.
void LocalLanes::Hold(uint64_t bytes) {
  if (bytes == 0) return;
  const std::scoped_lock lock(mutex_);
  PoolOf(Device{}).held_bytes += bytes;
}

void LocalLanes::LetGo(uint64_t bytes) {
  if (bytes == 0) return;
  const std::scoped_lock lock(mutex_);
  PoolOf(Device{}).held_bytes -= bytes;
  changed_.notify_all();
}

/// The lanes that work would run on now if `lane` took it, which comes first; as many as are free
/// and have room. Nobody holds a lane while it waits for others, so nobody waits for ever.
std::vector<LocalLanes::Worker*> LocalLanes::Gather(Worker& lane, const LaneWork& work) {
  std::vector<Worker*> team;
  const auto has_device = [&](const Device& device) {
    return device.type != "cpu" && std::any_of(team.begin(), team.end(), [&](const Worker* member) {
             return member->device() == device;
           });
  };
  const auto add = [&](Worker& other) {
    if (static_cast<int>(team.size()) < work.lanes && !has_device(other.device()) &&
        Fits(work, PoolOf(other.device())))
      team.push_back(&other);
  };
  add(lane);
  for (const auto& other : workers_) {
    if (other.get() != &lane && other->is_free() && other->device().type == lane.device().type)
      add(*other);
  }
  return team;
}

std::vector<LocalLanes::Pool*> LocalLanes::PoolsOf(const std::vector<Worker*>& team) {
  std::vector<Pool*> pools;
  for (const Worker* member : team) {
    Pool* pool = &PoolOf(member->device());
    if (std::find(pools.begin(), pools.end(), pool) == pools.end()) pools.push_back(pool);
  }
  return pools;
}

void LocalLanes::Admit(const std::vector<Worker*>& team, const LaneWork& work) {
  std::shared_ptr<LaneTeam> threads;
  if (team.size() > 1) threads = std::make_shared<LaneTeam>(team.size());
  for (Worker* member : team) {
    member->Begin(work, team, threads);
    busy_[member] = {.threads = work.threads};
  }
  for (Pool* pool : PoolsOf(team)) {
    ++pool->running;
    pool->used_bytes += work.memory_bytes;
    pool->shared_bytes.insert(work.shared_bytes);
    pool->alone = work.alone;
  }
  Share();
  if (team.size() > 1) changed_.notify_all();
}

/// Lanes whose work declared few threads leave the rest to the others, those at the gate all.
void LocalLanes::Share() {
  const auto computing = std::count_if(busy_.begin(), busy_.end(),
                                       [](const auto& busy) { return !busy.second.at_gate; });
  if (computing == 0) return;
  const int even = std::max(1, options_.cores / static_cast<int>(computing));
  int left = options_.cores, undeclared = 0;
  for (const auto& [lane, busy] : busy_) {
    if (busy.at_gate) continue;
    if (busy.threads == 0) {
      ++undeclared;
    } else {
      left -= std::min(busy.threads, even);
    }
  }
  even_share_.store(even, std::memory_order_relaxed);
  share_.store(std::max(1, left / std::max(1, undeclared)), std::memory_order_relaxed);
}

/// A lane that has nothing to do.
void LocalLanes::Leave(Worker& lane) {
  if (busy_.erase(&lane) == 0) return;
  Share();
  if (closing_) changed_.notify_all();  // this may have been the last one
}

LocalLanes::Next LocalLanes::Await(Worker& lane, LaneWork& work) {
  std::unique_lock lock(mutex_);
  lane.Wait(true);
  while (true) {
    const Pool& pool = PoolOf(lane.device());
    auto taken = queue_.Take(lane.device().type, lane.warm(), [&](const LaneWork& other) {
      return other.lanes == 1 ? Fits(other, pool)
                              : static_cast<int>(Gather(lane, other).size()) == other.lanes;
    });
    if (taken) {
      work = std::move(*taken);
      Admit(work.lanes == 1 ? std::vector<Worker*>{&lane} : Gather(lane, work), work);
      return Next::kLead;
    }
    Leave(lane);
    // What still runs may have something to be done again, by several lanes perhaps.
    if (closing_ && queue_.empty() && busy_.empty()) {
      lane.Wait(false);
      return Next::kEnd;
    }
    changed_.wait(lock);
    if (lane.is_taken()) return Next::kServe;
  }
}

void LocalLanes::Lead(Worker& lane, const LaneWork& work) {
  {
    const QuietGuard guard(gate_, work.quiet ? QuietGate::Pass::kQuiet : QuietGate::Pass::kLane,
                           [&](bool waits) {
                             const std::scoped_lock lock(mutex_);
                             for (const Worker* member : lane.members())
                               busy_.at(member).at_gate = waits;
                             Share();
                           });
    lane.Adapt();
    work.run(lane);
  }
  lane.DismissTeam();
  const std::scoped_lock lock(mutex_);
  for (Pool* pool : PoolsOf(lane.members())) {
    --pool->running;
    pool->used_bytes -= work.memory_bytes;
    pool->shared_bytes.erase(pool->shared_bytes.find(work.shared_bytes));
    pool->alone = false;
  }
  // Whoever waits for memory, or for the end, looks again.
  if (!queue_.empty() || closing_) changed_.notify_all();
}

void LocalLanes::Serve(Worker& lane) {
  try {
    if (options_.on_start) options_.on_start(lane.device(), lane.index());
  } catch (const std::exception& error) {  // nothing may leave a thread
    lane.Retire();
    return;
  }
  LaneWork work;
  // A lane that goes from step to step stays busy, so that the others' shares do not flutter.
  while (!lane.retired()) {
    const Next next = Await(lane, work);
    if (next == Next::kEnd) return;
    next == Next::kServe ? lane.ServeTeam() : Lead(lane, work);
  }
  const std::scoped_lock lock(mutex_);
  Leave(lane);
}

/// Called by the work of a lane that retired, or of its team's leader.
void LocalLanes::RefuseUnserved() {
  std::vector<std::pair<LaneWork, std::string>> refused;
  {
    const std::scoped_lock lock(mutex_);
    for (LaneWork& work : queue_.TakeOut([&](const LaneWork& other) { return !IsServed(other); })) {
      std::string why = WhyNotServed(work);
      refused.emplace_back(std::move(work), std::move(why));
    }
  }
  for (const auto& [work, why] : refused) work.refuse(why);
}

std::map<std::string, int> LanesTogether(const std::vector<Device>& devices) {
  std::map<std::string, int> together;
  std::set<std::string> counted;
  for (const Device& device : devices) {
    if (device.type == "cpu" || counted.insert(device.name()).second) ++together[device.type];
  }
  return together;
}

std::string LanesText(const std::map<std::string, int>& together) {
  std::string text;
  for (const auto& [type, lanes] : together) {
    text += fmt::format("{}{} of {}", text.empty() ? "" : ", ", lanes, type);
  }
  return text.empty() ? "none" : text;
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
