#include "graph/store/locks.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <filesystem>

#include "io/error.h"

// Byte ranges of the file:
//
//   [256 n, 256 n + 256)        live run n; its text is the run's host, process and beginning
//   kGate                       shared: open; exclusive: closed
//   kReaders                    shared by processes that only read
//   kMachines + 2 m             exclusive: a process of machine m waits to be alone there, or is
//   kMachines + 2 m + 1         shared: computes; exclusive: measures
//   [2^20 (k + 1), + n + 1)     the claim of run n on a key whose first 40 bits are k
//
// So the length of a claim says whose it is. The locks are of the kind that belongs to the open
// file (F_OFD_SETLK): two stores in one process exclude each other like two processes.

namespace puzzle {
namespace {

namespace fs = std::filesystem;

constexpr int kSlots = StoreLocks::kMaxRuns;
constexpr off_t kSlotBytes = 256;
constexpr off_t kGate = kSlots * kSlotBytes + 64;
constexpr off_t kReaders = kGate + 64;
constexpr off_t kMachines = 300'000;
constexpr uint64_t kMachineNumbers = 300'000;
constexpr int kClaimShift = 20;
constexpr size_t kClaimDigits = 10;
static_assert(kMachines > kReaders && kSlots + 1 < (1 << kClaimShift));
static_assert((off_t{1} << kClaimShift) > kMachines + off_t{2 * kMachineNumbers});

/// Uses are noted to the hour, so that most hits need no note.
constexpr int64_t kUseGrain_ns = int64_t{3600} * 1'000'000'000;

enum class Answer { kYes, kBusy, kUnsupported };

/// F_OFD_SETLK or F_OFD_SETLKW.
Answer Lock(int fd, int command, int16_t type, off_t start, off_t length) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = start;
  lock.l_len = length;
  int result = 0;
  do {
    result = ::fcntl(fd, command, &lock);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return Answer::kYes;
  return errno == EAGAIN || errno == EACCES ? Answer::kBusy : Answer::kUnsupported;
}

struct Range {
  off_t start = 0;
  off_t length = 0;  // 0: no lock found
};

/// The first lock of others in a range that excludes one of `type`.
Range FindLock(int fd, int16_t type, off_t start, off_t length) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = start;
  lock.l_len = length;
  if (::fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type == F_UNLCK) return {};
  return {lock.l_start, lock.l_len};
}

/// The slots of live runs, ascending. Of several locks in a range the system names any, not the
/// first: what lies before it is looked at as well.
std::vector<int> TakenSlots(int fd) {
  std::vector<int> slots;
  std::vector<Range> open = {Range{0, kSlots * kSlotBytes}};
  while (!open.empty()) {
    const Range part = open.back();
    open.pop_back();
    if (part.length <= 0) continue;
    const Range found = FindLock(fd, F_WRLCK, part.start, part.length);
    if (found.length <= 0) continue;
    slots.push_back(static_cast<int>(found.start / kSlotBytes));
    const off_t after = found.start + found.length;
    open.push_back({part.start, found.start - part.start});
    open.push_back({after, part.start + part.length - after});
  }
  std::sort(slots.begin(), slots.end());
  return slots;
}

off_t ClaimStart(const std::string& key) {
  uint64_t bits = 0;
  std::from_chars(key.data(), key.data() + std::min(key.size(), kClaimDigits), bits, 16);
  return static_cast<off_t>((bits + 1) << kClaimShift);
}

/// What a live run wrote about itself; needs everything as long as it did not.
LiveRun ReadSlot(int fd, int slot) {
  std::array<char, kSlotBytes> text{};
  LiveRun run;
  if (::pread(fd, text.data(), text.size() - 1, slot * kSlotBytes) <= 0) return run;
  std::array<char, kSlotBytes> host{}, token{};
  int64_t pid = 0, since_ns = 0;
  if (std::sscanf(text.data(), "%ld %ld %200s %16s\n", &pid, &since_ns, host.data(), token.data()) <
      3) {
    return run;
  }
  return {host.data(), pid, token.data(), since_ns};
}

std::string HolderName(int fd, const Range& claim) {
  const off_t slot = claim.length - 1;
  return (slot < kSlots ? ReadSlot(fd, static_cast<int>(slot)) : LiveRun{}).Name();
}

}  // namespace

std::string HostName() {
  std::array<char, 200> name{};
  const bool known = ::gethostname(name.data(), name.size() - 1) == 0 && name[0] != '\0';
  return known ? name.data() : "unknown";
}

const std::string& ProcessToken() {
  static const std::string token = RandomName();
  return token;
}

std::string LiveRun::Name() const {
  return pid == 0 ? "another process" : fmt::format("process {} on {}", pid, host);
}

StoreLocks::StoreLocks(std::string path) : path_(std::move(path)) {}

StoreLocks::~StoreLocks() {
  PUZZLE_CHECK(held_.empty(), "a claim outlives its store");
}

int StoreLocks::Fd() const {
  if (file_.get() < 0) file_ = OpenPlainFile(path_, O_RDONLY);
  return file_.get();
}

void StoreLocks::UseLeases(const LeaseTimes& times, bool only) {
  PUZZLE_CHECK(!announced_, "leases for a run that has begun");
  leases_ = std::make_unique<Leases>(fs::path(path_).parent_path().string(), times);
  without_locks_ = only;
}

void StoreLocks::Announce() {
  {
    const std::scoped_lock lock(mutex_);
    if (announced_) return;
    Descriptor file = OpenPlainFile(path_, O_RDWR | O_CREAT);
    if (file.get() < 0) {
      if (errno != ELOOP && errno != EINVAL && errno != ENXIO) return;
      throw Error(
          fmt::format("\"{}\" is a link or no file: nothing in a store is followed out of it; "
                      "remove it",
                      path_));
    }
    file_ = std::move(file);
    const bool seen = TakeSlot();
    if (!leases_ && (unsupported_ || !IsOfOneMachine(path_))) {
      leases_ = std::make_unique<Leases>(fs::path(path_).parent_path().string(), LeaseTimes());
    }
    announced_ = true;
    if (!seen) return;
    WriteSlot(0);
    struct stat info {};  // the time of that write, by the clock that stamps the artifacts
    if (::fstat(file_.get(), &info) == 0) {
      needed_since_ns_ = int64_t{info.st_mtim.tv_sec} * 1'000'000'000 - kUseGrain_ns;
      WriteSlot(needed_since_ns_);
    }
  }
  const GateGuard passed(*this, GateGuard::Mode::kOpen);
}

bool StoreLocks::TakeSlot() {
  if (without_locks_) {
    unsupported_ = true;
    return false;
  }
  for (int slot = 0; slot < kSlots; ++slot) {
    switch (Lock(file_.get(), F_OFD_SETLK, F_WRLCK, slot * kSlotBytes, kSlotBytes)) {
      case Answer::kYes:
        slot_ = slot;
        return true;
      case Answer::kUnsupported:
        unsupported_ = true;
        return false;
      case Answer::kBusy:
        break;
    }
  }
  return false;
}

void StoreLocks::WriteSlot(int64_t needs_since_ns) {
  std::string text =
      fmt::format("{} {} {} {}", ::getpid(), needs_since_ns, HostName(), ProcessToken());
  text.resize(kSlotBytes - 1, ' ');
  text += '\n';
  // A text that cannot be written (a full disk) is one of a run that needs everything.
  [[maybe_unused]] const ssize_t n =
      ::pwrite(file_.get(), text.data(), text.size(), slot_ * kSlotBytes);
}

void StoreLocks::NeedEverything() {
  const std::scoped_lock lock(mutex_);
  if (slot_ >= 0) WriteSlot(0);
}

std::vector<LiveRun> StoreLocks::Others() const {
  const std::scoped_lock lock(mutex_);
  std::vector<LiveRun> runs;
  if (Fd() < 0) return runs;
  for (const int slot : TakenSlots(file_.get())) runs.push_back(ReadSlot(file_.get(), slot));
  // Runs of other machines, whose locks may not be seen here. They may need whatever there is.
  for (const Leases::Holder& holder : Leases::Runs(fs::path(path_).parent_path().string())) {
    const bool known = std::any_of(runs.begin(), runs.end(), [&](const LiveRun& run) {
      return run.token == holder.process_token;
    });
    if (!known) runs.push_back({holder.host, holder.pid, holder.process_token, 0});
  }
  return runs;
}

StoreLocks::Attempt StoreLocks::TryClaim(const std::string& key) {
  const std::scoped_lock lock(mutex_);
  if (held_.contains(key)) return {nullptr, "this run"};
  if (announced_ && !unsupported_) {
    const off_t start = ClaimStart(key);
    const off_t length = (slot_ < 0 ? kSlots : slot_) + 1;
    if (Lock(file_.get(), F_OFD_SETLK, F_WRLCK, start, length) == Answer::kBusy) {
      return {nullptr, HolderName(file_.get(), FindLock(file_.get(), F_WRLCK, start, length))};
    }
  }
  if (announced_ && leases_) {
    try {
      if (auto holder = leases_->Take(key, /*locked=*/!unsupported_)) {
        Unlock(key);
        return {nullptr, std::move(*holder)};
      }
    } catch (...) {
      Unlock(key);
      throw;
    }
  }
  held_.insert(key);
  return {std::unique_ptr<Claim>(new Claim(*this, key)), {}};
}

bool StoreLocks::IsClaimed(const std::string& key) const {
  const std::scoped_lock lock(mutex_);
  if (held_.contains(key)) return true;
  if (Fd() >= 0 && FindLock(file_.get(), F_WRLCK, ClaimStart(key), 1).length > 0) return true;
  return leases_ && leases_->IsTaken(key);
}

void StoreLocks::Unlock(const std::string& key) {
  if (!announced_ || unsupported_) return;
  Lock(file_.get(), F_OFD_SETLK, F_UNLCK, ClaimStart(key), off_t{1} << kClaimShift);
}

void StoreLocks::Release(const std::string& key) {
  const std::scoped_lock lock(mutex_);
  held_.erase(key);
  if (announced_ && leases_) leases_->Give(key);
  Unlock(key);
}

Descriptor StoreLocks::AnnounceReader(const std::string& path) {
  Descriptor file = OpenPlainFile(path, O_RDONLY);
  if (file.get() >= 0) Lock(file.get(), F_OFD_SETLK, F_RDLCK, kReaders, 1);
  return file;
}

bool StoreLocks::HasReaders() const {
  const std::scoped_lock lock(mutex_);
  return Fd() >= 0 && FindLock(file_.get(), F_WRLCK, kReaders, 1).length > 0;
}

MachineGate::MachineGate(const std::string& path) : file_(OpenPlainFile(path, O_RDWR)) {
  turnstile_ =
      kMachines + 2 * static_cast<off_t>(std::hash<std::string>()(MachineMark()) % kMachineNumbers);
  room_ = turnstile_ + 1;
}

bool MachineGate::TryEnter(bool alone) {
  if (file_.get() < 0) return true;
  if (!alone) {
    return FindLock(file_.get(), F_RDLCK, turnstile_, 1).length == 0 &&
           Lock(file_.get(), F_OFD_SETLK, F_RDLCK, room_, 1) != Answer::kBusy;
  }
  if (!waits_ && Lock(file_.get(), F_OFD_SETLK, F_WRLCK, turnstile_, 1) == Answer::kBusy) {
    return false;
  }
  waits_ = true;
  return Lock(file_.get(), F_OFD_SETLK, F_WRLCK, room_, 1) != Answer::kBusy;
}

void MachineGate::Share() {
  if (file_.get() < 0) return;
  waits_ = false;
  Lock(file_.get(), F_OFD_SETLK, F_RDLCK, room_, 1);
  Lock(file_.get(), F_OFD_SETLK, F_UNLCK, turnstile_, 1);
}

bool MachineGate::SomebodyWaits() const {
  return file_.get() >= 0 && !waits_ && FindLock(file_.get(), F_RDLCK, turnstile_, 1).length > 0;
}

void MachineGate::Leave() {
  if (file_.get() < 0) return;
  waits_ = false;
  Lock(file_.get(), F_OFD_SETLK, F_UNLCK, turnstile_, 2);
}

GateGuard::GateGuard(StoreLocks& locks, Mode mode) : locks_(locks), lock_(locks.gate_mutex_) {
  if (!locks_.announced_ || locks_.unsupported_) return;
  Lock(locks_.file_.get(), F_OFD_SETLKW, mode == Mode::kOpen ? F_RDLCK : F_WRLCK, kGate, 1);
}

GateGuard::~GateGuard() {
  if (!locks_.announced_ || locks_.unsupported_) return;
  Lock(locks_.file_.get(), F_OFD_SETLK, F_UNLCK, kGate, 1);
}

}  // namespace puzzle
