// Who works on a store right now: runs announce themselves, claim the keys that they compute, and
// pass a gate that `cache gc` closes while it deletes. All of it are locks on byte ranges of one
// file, `<store>/locks`: taking one is one system call, nothing has to be removed afterwards, and
// however a process ends, its locks end with it. Where locks do not reach every machine, claims are
// files as well (leases.h). README.md describes the layout. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_set>
#include <vector>

#include "graph/store/leases.h"
#include "io/file.h"

namespace puzzle {

/// Of this machine; "unknown" when it has none.
[[nodiscard]] std::string HostName();

/// Sixteen hex digits that belong to this process alone: two containers may share a host name and a
/// process number.
[[nodiscard]] const std::string& ProcessToken();

/// A process that works on a store.
struct LiveRun {
  std::string host;
  int64_t pid = 0;
  std::string token;  // ProcessToken; "" of older programs
  /// It may need whatever was used since then; 0 when it may need whatever there is.
  int64_t needs_since_ns = 0;

  /// "process 123 on host".
  [[nodiscard]] std::string Name() const;
};

class Claim;

class StoreLocks {
 public:
  /// Opens nothing yet.
  explicit StoreLocks(std::string path);
  /// REQUIRES: no claim lives.
  ~StoreLocks();
  StoreLocks(const StoreLocks&) = delete;
  StoreLocks& operator=(const StoreLocks&) = delete;

  static constexpr int kMaxRuns = 1024;  // that are seen

  /// Claims are to be leases beside locks; `only`: as if the file system had no locks. Without it,
  /// Announce decides: leases where there are no locks, or where they may be one machine's only.
  /// REQUIRES: not announced.
  void UseLeases(const LeaseTimes& times, bool only = false);
  /// nullptr: locks alone.
  [[nodiscard]] Leases* leases() const { return leases_.get(); }

  /// Makes this object a live run, waiting while the gate is closed. Does nothing when it is one
  /// already, or when the file cannot be made. Throws Error when a link or something else that is
  /// no file stands in its place.
  void Announce();
  [[nodiscard]] bool announced() const { return announced_; }
  /// Others see this run, and it sees them.
  [[nodiscard]] bool binds() const { return announced_ && !unsupported_; }
  /// The file system has no locks: the announcement is seen by nobody, and claims are leases.
  [[nodiscard]] bool unsupported() const { return unsupported_; }
  /// Artifacts used since then are safe from `cache gc` while this run lives: an hour before it
  /// began, by the clock of the file system. Before it is announced there is no such time.
  [[nodiscard]] int64_t needed_since_ns() const { return needed_since_ns_; }
  /// From now on `cache gc` removes nothing at all while this run lives.
  void NeedEverything();
  /// The live runs but this one.
  [[nodiscard]] std::vector<LiveRun> Others() const;

  struct Attempt {
    std::unique_ptr<Claim> claim;  // null: somebody else has it
    std::string holder;            // then: "process 123 on host", "this run"
  };
  /// Claims a key. Where neither locks nor leases work every process gets a claim; even then no key
  /// is claimed twice within this object. Throws Error when the folder of leases cannot be made.
  /// REQUIRES: the object outlives the claim.
  [[nodiscard]] Attempt TryClaim(const std::string& key);
  /// Whether somebody else claims a key, or another part of this run does.
  [[nodiscard]] bool IsClaimed(const std::string& key) const;

  /// Says that this process reads a store that it may not write; no file, no effect. The result
  /// holds the announcement.
  [[nodiscard]] static Descriptor AnnounceReader(const std::string& path);
  /// Whether any process does.
  [[nodiscard]] bool HasReaders() const;

 private:
  friend class Claim;
  friend class GateGuard;
  void Release(const std::string& key);
  void Unlock(const std::string& key);
  [[nodiscard]] int Fd() const;  // opened for reading at least; -1: there is no file
  bool TakeSlot();
  void WriteSlot(int64_t needs_since_ns);

  const std::string path_;
  std::unique_ptr<Leases> leases_;
  bool without_locks_ = false;
  mutable std::mutex mutex_;  // guards what follows
  mutable Descriptor file_;
  std::unordered_set<std::string> held_;  // keys claimed through this object
  int slot_ = -1;
  std::atomic<bool> announced_{false};
  std::atomic<bool> unsupported_{false};
  std::atomic<int64_t> needed_since_ns_{std::numeric_limits<int64_t>::min()};
  std::mutex gate_mutex_;  // one GateGuard at a time: their locks are the same to the system
};

/// The right to compute a key. Ends with the object, or with the process.
class Claim {
 public:
  ~Claim() { locks_.Release(key_); }
  Claim(const Claim&) = delete;
  Claim& operator=(const Claim&) = delete;

 private:
  friend class StoreLocks;
  Claim(StoreLocks& locks, std::string key) : locks_(locks), key_(std::move(key)) {}

  StoreLocks& locks_;
  const std::string key_;
};

/// Lets any number of processes of this machine compute, or one of them measure. Sees those that
/// work on the same store. Where there are no locks everybody may enter. Used under a mutex of the
/// caller.
class MachineGate {
 public:
  /// `path`: that of StoreLocks.
  explicit MachineGate(const std::string& path);

  /// Enters when that is possible now. `alone`: to measure; from the first attempt on nobody else
  /// comes in, until this process has entered. REQUIRES: not inside.
  [[nodiscard]] bool TryEnter(bool alone);
  /// From alone to beside others: who measured goes on with what disturbs nobody. REQUIRES: inside.
  void Share();
  /// Whether another process waits to be alone.
  [[nodiscard]] bool SomebodyWaits() const;
  void Leave();

 private:
  Descriptor file_;
  int64_t turnstile_, room_;  // bytes of the file
  bool waits_ = false;        // has the turnstile
};

/// Keeps the gate open or closed while it lives. While it is closed no run comes to life, and none
/// says that it needs an old artifact. Waits for guards of the other mode.
class GateGuard {
 public:
  enum class Mode { kOpen, kClosed };
  GateGuard(StoreLocks& locks, Mode mode);
  ~GateGuard();
  GateGuard(const GateGuard&) = delete;
  GateGuard& operator=(const GateGuard&) = delete;

 private:
  StoreLocks& locks_;
  const std::unique_lock<std::mutex> lock_;
};

}  // namespace puzzle
