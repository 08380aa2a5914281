// Claims on file systems that have no locks, or keep them to one machine: a file per claim, and one
// per run in which it counts heartbeats. Nobody compares clocks: a run lives while others see its
// count change, by their own clocks that only go forward. Two runs may still come to hold one claim
// (one of them slept for longer than the others had patience); the store keeps the first result.
// Thread-safe.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace puzzle {

struct LeaseTimes {
  double beat_s = 5;     // between heartbeats
  double lost_s = 60;    // without a sign of life for this long a run is dead
  double visible_s = 5;  // what another machine wrote may show up so late
};

/// Whether the file system of `folder` is one of a single machine, as far as is known.
[[nodiscard]] bool IsOfOneMachine(const std::string& folder);
/// What tells machines apart, and no two starts of one: the kernel's boot id, else the host's name.
[[nodiscard]] const std::string& MachineMark();

/// The leases of one run on one store.
class Leases {
 public:
  /// Touches nothing yet.
  Leases(std::string store, const LeaseTimes& times);
  /// Takes the leases and the heartbeat back.
  ~Leases();
  Leases(const Leases&) = delete;
  Leases& operator=(const Leases&) = delete;

  [[nodiscard]] const LeaseTimes& times() const { return times_; }

  /// Begins to beat, for a run that takes no lease itself. Throws Error when the folder of leases
  /// cannot be made.
  void ShowLife();
  /// Who has the lease on a key, such as "process 123 on host"; nullopt: this object, now.
  /// `locked`: the caller holds a lock on it, so that nobody else on this machine is at it.
  /// Also nullopt when the file cannot be made or written for another reason: then nobody has it.
  /// Throws Error when the folder of leases cannot be made.
  [[nodiscard]] std::optional<std::string> Take(const std::string& key, bool locked);
  /// Whether somebody has it and shows signs of life.
  [[nodiscard]] bool IsTaken(const std::string& key);
  void Give(const std::string& key);

  /// Who has announced a heartbeat here and has not taken it back; what has not beaten for a day,
  /// by the clock of the file system, is dead.
  struct Holder {
    std::string token, process_token, place, host;
    long pid = 0;
  };
  [[nodiscard]] static std::vector<Holder> Runs(const std::string& store);

 private:
  struct Seen {
    std::string beat;
    double since_s = 0;
  };

  void Start();
  void Beat();
  [[nodiscard]] bool Lives(const std::string& key, const Holder& holder);
  [[nodiscard]] std::string PathOf(const std::string& key) const { return folder_ + '/' + key; }
  [[nodiscard]] std::string BeatPath(const std::string& token) const;
  [[nodiscard]] std::string OwnText() const;
  /// Removes a dead process's lease, unless somebody was faster.
  void Break(const std::string& key, const Holder& dead);

  const std::string store_, folder_;
  const std::string token_;
  std::string place_;  // where it is the same, locks are seen
  const LeaseTimes times_;
  std::mutex mutex_;                  // guards what follows
  std::map<std::string, Seen> seen_;  // token -> what its heartbeat said, and since when
  uint64_t count_ = 0;
  bool started_ = false;
  std::condition_variable_any wake_;
  std::jthread heart_;
};

}  // namespace puzzle
