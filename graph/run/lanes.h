// Worker threads bound to devices. Device work has its own threads because tensor libraries keep
// thread counts and current device per thread. Thread-safe unless said otherwise.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "graph/kind/kind.h"
#include "graph/run/ready_queue.h"
#include "graph/store/locks.h"

namespace puzzle {

/// Where a step runs: one lane, as seen by the step.
class Lane {
 public:
  virtual ~Lane() = default;
  [[nodiscard]] virtual const Device& device() const = 0;
  /// "cpu#0".
  [[nodiscard]] virtual const std::string& name() const = 0;
  /// Adapts this thread to the cores that are free now; an atomic load when nothing changed.
  /// REQUIRES: called on the lane's thread.
  virtual void Adapt() = 0;
  /// Threads that the running step may use.
  [[nodiscard]] virtual int threads() const = 0;
  /// The device is of no use any more: this lane takes no further work.
  virtual void Retire() = 0;

  /// The lanes of the running step: this one, and those that serve it (LaneWork::lanes).
  [[nodiscard]] virtual std::vector<Lane*> team() { return {this}; }
  /// Calls work(i) on the thread of lane i of the team; see RunContext::OnEach. REQUIRES: called on
  /// this lane's thread.
  virtual void OnEach(const std::function<void(size_t)>& work) { work(0); }
  /// The lane of the team whose failure OnEach threw last; this one when there was none.
  [[nodiscard]] virtual Lane& failed() { return *this; }
};

/// Admits running steps: any number of normal ones, or a single quiet one. With a gate of the
/// machine behind it that holds for the steps of all processes.
class QuietGate {
 public:
  enum class Pass {
    kLane,   // waits while a quiet step runs or waits, so that a quiet one is not put off for ever
    kHost,   // waits while a quiet step runs: these threads are also needed to empty the gate
    kQuiet,  // waits until nobody is inside
  };
  void Enter(Pass pass);
  /// Enters if that takes no waiting. Returns whether it did.
  [[nodiscard]] bool TryEnter(Pass pass);
  /// Lets the caller leave twice: what follows from its step (saving) belongs to it. Never waits.
  /// REQUIRES: the caller is inside.
  void Stay();
  void Leave(Pass pass);
  /// Hears why steps wait when it is another process they wait for, once per wait that lasts.
  /// Called by the thread that waits.
  using Tell = std::function<void(const std::string& why)>;
  /// nullptr: none. Waits until nobody is inside. Once `stopping` says so nobody waits for other
  /// processes: who enters then has nothing to do.
  void SetMachine(MachineGate* machine, Tell tell = nullptr,
                  std::function<bool()> stopping = nullptr,
                  std::chrono::milliseconds patience = std::chrono::seconds(2));

 private:
  enum class Verdict { kEnters, kWaitsForUs, kWaitsForOthers };
  // REQUIRES: mutex_ held.
  [[nodiscard]] Verdict Ask(Pass pass);
  void Admit(Pass pass);

  MachineGate* machine_ = nullptr;
  Tell tell_;
  std::function<bool()> stopping_;
  std::chrono::milliseconds patience_{};
  bool told_ = false;  // since somebody entered
  std::mutex mutex_;
  std::condition_variable changed_;
  int inside_ = 0;
  int quiet_waiting_ = 0;
  bool quiet_inside_ = false;
};

/// Enters a gate for as long as it lives.
class QuietGuard {
 public:
  /// Where it has to wait it says so before and after.
  QuietGuard(QuietGate& gate, QuietGate::Pass pass,
             const std::function<void(bool waits)>& tell = nullptr)
      : gate_(gate), pass_(pass) {
    if (gate_.TryEnter(pass_)) return;
    if (tell) tell(true);
    gate_.Enter(pass_);
    if (tell) tell(false);
  }
  ~QuietGuard() { gate_.Leave(pass_); }
  QuietGuard(const QuietGuard&) = delete;
  QuietGuard& operator=(const QuietGuard&) = delete;

 private:
  QuietGate& gate_;
  QuietGate::Pass pass_;
};

/// A set of lanes behind one queue. An interface, so that lanes elsewhere, or lanes that a test
/// moves by hand, can take the place of threads.
class Lanes {
 public:
  virtual ~Lanes() = default;
  /// Hands work over and returns at once. Everything posted is run, exactly once, or refused when
  /// no lane is left for it, or too few for what takes several (perhaps before this call returns).
  virtual void Post(LaneWork work) = 0;
  [[nodiscard]] virtual size_t size() const = 0;
  /// The gate that steps outside lanes pass as well.
  [[nodiscard]] virtual QuietGate& gate() = 0;

  /// A result of so many bytes is in the host's memory until LetGo, since it waits to be saved:
  /// work for the cpu is admitted beside it. Called before its lane takes other work.
  virtual void Hold(uint64_t /*bytes*/) {}
  virtual void LetGo(uint64_t /*bytes*/) {}
};

struct LocalLanesOptions {
  std::vector<Device> devices;  // one lane each
  int cores = 0;                // to be shared by busy lanes; 0: those of the machine
  int threads_per_lane = 0;     // 0: every busy lane gets an equal share of the cores
  /// Called first thing on every lane's thread.
  std::function<void(const Device&, int lane)> on_start;
  /// Called on a lane's thread when its number of threads changes, and before its first step.
  std::function<void(int threads)> set_threads;
  /// Bytes that running work may occupy together, by device ("cpu" for all cpu lanes, "cuda:1"),
  /// what it shares counted once; work that needs more runs alone. No entry: no limit.
  std::map<std::string, uint64_t> memory_bytes;
};

/// Threads of this machine, one per lane.
class LocalLanes final : public Lanes {
 public:
  explicit LocalLanes(LocalLanesOptions options);
  /// Runs what is still queued, then joins.
  ~LocalLanes() override;

  void Post(LaneWork work) override;
  [[nodiscard]] size_t size() const override { return threads_.size(); }
  [[nodiscard]] QuietGate& gate() override { return gate_; }
  void Hold(uint64_t bytes) override;
  void LetGo(uint64_t bytes) override;

 private:
  class Worker;
  /// What runs on one device, or on all cpu lanes together.
  struct Pool {
    uint64_t limit_bytes = UINT64_MAX;
    uint64_t used_bytes = 0;
    uint64_t held_bytes = 0;               // of results that wait to be saved
    std::multiset<uint64_t> shared_bytes;  // of everything that runs
    int running = 0;
    bool alone = false;
  };
  struct Busy {
    int threads = 0;       // that its work declared
    bool at_gate = false;  // waits to begin: others have its cores
  };
  enum class Next { kLead, kServe, kEnd };

  void Serve(Worker& lane);
  /// Waits for work that may start now, and takes it with the lanes it needs, or for being taken by
  /// another lane. kEnd when there will be none.
  Next Await(Worker& lane, LaneWork& work);
  void Lead(Worker& lane, const LaneWork& work);
  /// Work in the queue that the lanes that are left cannot do.
  void RefuseUnserved();
  // REQUIRES: mutex_ held.
  Pool& PoolOf(const Device& device);
  static bool Fits(const LaneWork& work, const Pool& pool);
  std::vector<Worker*> Gather(Worker& lane, const LaneWork& work);
  std::vector<Pool*> PoolsOf(const std::vector<Worker*>& team);
  void Admit(const std::vector<Worker*>& team, const LaneWork& work);
  void Leave(Worker& lane);
  void Share();
  [[nodiscard]] std::vector<Device> Alive() const;
  [[nodiscard]] std::optional<std::string> ServedBy(const LaneWork& work) const;
  [[nodiscard]] bool IsServed(const LaneWork& work) const;
  [[nodiscard]] std::string WhyNotServed(const LaneWork& work) const;

  LocalLanesOptions options_;
  QuietGate gate_;
  std::mutex mutex_;
  std::condition_variable changed_;  // something was posted or ended
  ReadyQueue queue_;
  std::map<std::string, Pool> pools_;
  std::vector<std::unique_ptr<Worker>> workers_;  // one for each device of the options
  std::map<const Worker*, Busy> busy_;            // lanes that have work
  bool closing_ = false;
  std::atomic<int> share_{1};       // of a busy lane whose work declared nothing
  std::atomic<int> even_share_{1};  // of a busy lane if all were equal
  std::vector<std::thread> threads_;
};

/// How many lanes of these devices a step can take together, by type of device: all of the cpu, one
/// for each other device.
[[nodiscard]] std::map<std::string, int> LanesTogether(const std::vector<Device>& devices);
/// "2 of cpu, 1 of cuda"; "none".
[[nodiscard]] std::string LanesText(const std::map<std::string, int>& together);

/// Parses "cpu,cpu,cuda:1". Throws Error naming the part that is none.
[[nodiscard]] std::vector<Device> ParseDevices(const std::string& text);
/// One cpu lane per core, at most four.
[[nodiscard]] std::vector<Device> DefaultDevices();

}  // namespace puzzle
