#include "graph/store/leases.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>

#include "graph/store/leftovers.h"
#include "io/clock.h"
#include "io/file.h"

// Files of <store>/leases:
//
//   <key>         "token token-of-the-process place process host": who computes that step
//   run.<token>   the same, and a number that changes with every heartbeat
//
// A file is made with O_EXCL, which network file systems keep as well, and found empty for a
// moment.

namespace puzzle {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxText = 1024;
constexpr char kRunPrefix[] = "run.";
constexpr int64_t kDay_s = 86400;

Leases::Holder Parse(const std::string& text) {
  std::array<char, kMaxText + 1> token{}, process{}, place{}, host{};
  Leases::Holder holder;
  if (text.size() <= kMaxText &&
      std::sscanf(text.c_str(), "%1024s %1024s %1024s %ld %1024s", token.data(), process.data(),
                  place.data(), &holder.pid, host.data()) == 5) {
    holder.token = token.data();
    holder.process_token = process.data();
    holder.place = place.data();
    holder.host = host.data();
  }
  return holder;
}

std::string NameOf(const Leases::Holder& holder) {
  return holder.token.empty() ? "another process"
                              : fmt::format("process {} on {}", holder.pid, holder.host);
}

bool WriteText(const Descriptor& file, const std::string& text) {
  return ::pwrite(file.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size());
}

int64_t ModifiedSeconds(const std::string& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0 ? int64_t{info.st_mtim.tv_sec} : 0;
}

/// What the file system stamps a file with that is made now; 0 where none can be made.
int64_t FileSystemSeconds(const std::string& store) {
  const std::string path = NewTemporaryPath(store);
  const Descriptor file(
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666));
  if (file.get() < 0) return 0;
  const int64_t now_s = ModifiedSeconds(path);
  ::unlink(path.c_str());
  return now_s;
}

/// Files of runs that died long ago, by the clock of the file system alone. A lease is written once
/// and a step may take days: the heart of its run tells.
void RemoveOld(const std::string& folder, const std::string& own) {
  const int64_t now_s = ModifiedSeconds(own);
  std::error_code failure;
  for (fs::directory_iterator it(folder, failure), end; !failure && it != end;
       it.increment(failure)) {
    const std::string path = it->path().string();
    const int64_t then_s = ModifiedSeconds(path);
    if (then_s == 0 || now_s - then_s <= kDay_s) continue;
    const std::string run = Parse(ReadPlainFile(path, kMaxText).value_or("")).token;
    if (!run.empty() && now_s - ModifiedSeconds(folder + '/' + kRunPrefix + run) <= kDay_s)
      continue;
    ::unlink(path.c_str());
  }
}

}  // namespace

bool IsOfOneMachine(const std::string& folder) {
  // ext, xfs, btrfs, tmpfs, overlayfs, zfs, f2fs, ramfs, bcachefs
  constexpr std::array<uint32_t, 9> kLocal = {0xEF53,     0x58465342, 0x9123683E,
                                              0x01021994, 0x794C7630, 0x2FC12FC1,
                                              0xF2F52010, 0x858458F6, 0xCA451A4E};
  struct statfs info {};
  if (::statfs(folder.c_str(), &info) != 0) return true;
  return std::find(kLocal.begin(), kLocal.end(), static_cast<uint32_t>(info.f_type)) !=
         kLocal.end();
}

const std::string& MachineMark() {
  static const std::string mark = [] {
    std::string id(36, '\0');  // /proc has no sizes, hence no ReadPlainFile
    const Descriptor file(::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC));
    const bool known = file.get() >= 0 && ::read(file.get(), id.data(), id.size()) == 36;
    return known ? id : HostName();
  }();
  return mark;
}

Leases::Leases(std::string store, const LeaseTimes& times)
    : store_(std::move(store)), folder_(store_ + "/leases"), token_(RandomName()), times_(times) {}

Leases::~Leases() {
  if (!started_) return;
  heart_.request_stop();
  heart_.join();
  ::unlink(BeatPath(token_).c_str());
}

std::string Leases::OwnText() const {
  return fmt::format("{} {} {} {} {}", token_, ProcessToken(), place_, ::getpid(), HostName());
}

std::string Leases::BeatPath(const std::string& token) const {
  return PathOf(kRunPrefix + token);
}

/// REQUIRES: mutex_ held.
void Leases::Start() {
  if (started_) return;
  MakeStoreFolder(folder_);
  // Two mounts of one folder have locks of their own, such as those of two containers.
  struct stat info {};
  const bool known = ::stat(folder_.c_str(), &info) == 0;
  place_ = fmt::format("{}/{}", MachineMark(), known ? info.st_dev : 0);
  Beat();
  RemoveOld(folder_, BeatPath(token_));
  heart_ = std::jthread([this](const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    const auto pause = std::chrono::duration<double>(times_.beat_s);
    while (!wake_.wait_for(lock, stop, pause, [&] { return stop.stop_requested(); })) Beat();
  });
  started_ = true;
}

void Leases::ShowLife() {
  const std::scoped_lock lock(mutex_);
  Start();
}

/// Opened anew each time: closing is what makes other machines see it. A beat that cannot be
/// written is none; REQUIRES: mutex_ held.
void Leases::Beat() {
  const Descriptor file = OpenPlainFile(BeatPath(token_), O_WRONLY | O_CREAT);
  if (file.get() >= 0) (void)WriteText(file, fmt::format("{} {:020}\n", OwnText(), ++count_));
}

/// Of a lease whose text is still to be written nobody's heart is known: then the lease itself has
/// to change. REQUIRES: mutex_ held.
bool Leases::Lives(const std::string& key, const Holder& holder) {
  if (!holder.token.empty()) seen_.erase(key);
  const std::string& id = holder.token.empty() ? key : holder.token;
  const std::string beat =
      holder.token.empty() ? "" : ReadPlainFile(BeatPath(id), kMaxText).value_or("");
  const double now_s = MonotonicSeconds();
  const auto [it, is_new] = seen_.try_emplace(id, Seen{beat, now_s});
  if (is_new) return true;
  if (it->second.beat != beat) it->second = {beat, now_s};
  return now_s - it->second.since_s < times_.lost_s;
}

void Leases::Break(const std::string& key, const Holder& dead) {
  const std::string aside = NewTemporaryPath(store_);
  if (::rename(PathOf(key).c_str(), aside.c_str()) != 0) return;
  const std::string text = ReadPlainFile(aside, kMaxText).value_or("");
  if (Parse(text).token == dead.token) {
    ::unlink(aside.c_str());
  } else {
    (void)MoveToNewName(aside, PathOf(key));  // somebody had broken it and taken it before us
    ::unlink(aside.c_str());
  }
}

std::optional<std::string> Leases::Take(const std::string& key, bool locked) {
  const std::scoped_lock lock(mutex_);
  Start();
  constexpr int kTries = 3;  // others break and take as well
  std::string holder_name = "another process";
  for (int i = 0; i < kTries; ++i) {
    const Descriptor file(
        ::open(PathOf(key).c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666));
    if (file.get() >= 0) {
      // An empty one, on a full disk, would stand for nobody and keep all away for a while.
      if (!WriteText(file, OwnText())) ::unlink(PathOf(key).c_str());
      return std::nullopt;
    }
    // Not every protocol can say why: what is there tells.
    const bool may_be_there = errno == EEXIST;
    const auto text = ReadPlainFile(PathOf(key), kMaxText);
    if (!text && !may_be_there) return std::nullopt;
    if (!text) continue;  // given back meanwhile
    const Holder holder = Parse(*text);
    holder_name = NameOf(holder);
    if (holder.token == token_) return std::nullopt;
    const bool dead = locked && holder.place == place_;
    if (!dead && Lives(key, holder)) return holder_name;
    Break(key, holder);
  }
  return holder_name;
}

bool Leases::IsTaken(const std::string& key) {
  const std::scoped_lock lock(mutex_);
  const auto text = ReadPlainFile(PathOf(key), kMaxText);
  return text && Lives(key, Parse(*text));
}

void Leases::Give(const std::string& key) {
  const std::scoped_lock lock(mutex_);
  const auto text = ReadPlainFile(PathOf(key), kMaxText);
  if (text && Parse(*text).token == token_) ::unlink(PathOf(key).c_str());
}

std::vector<Leases::Holder> Leases::Runs(const std::string& store) {
  std::vector<Holder> runs;
  const std::string folder = store + "/leases";
  if (!IsPlainFolder(folder)) return runs;
  std::optional<int64_t> now_s;  // asked for where there is a heart
  std::error_code failure;
  for (fs::directory_iterator it(folder, failure), end; !failure && it != end;
       it.increment(failure)) {
    const std::string name = it->path().filename().string();
    if (!name.starts_with(kRunPrefix)) continue;
    const std::string path = it->path().string();
    Holder holder = Parse(ReadPlainFile(path, kMaxText).value_or(""));
    if (holder.token.empty() || holder.process_token == ProcessToken()) continue;
    if (!now_s) now_s = FileSystemSeconds(store);
    if (*now_s - ModifiedSeconds(path) <= kDay_s) runs.push_back(std::move(holder));
  }
  return runs;
}

}  // namespace puzzle
