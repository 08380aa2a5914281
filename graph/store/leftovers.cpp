#include "graph/store/leftovers.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "io/error.h"
#include "io/file.h"

namespace puzzle {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kDay_ns = int64_t{24} * 3600 * 1'000'000'000;

/// The writer of a file "host.process.token.number"; older programs wrote no token.
struct Writer {
  bool of_this_machine = false;
  int64_t pid = 0;
  std::string_view token;
};

Writer WriterOf(std::string_view name) {
  const std::string own = HostName() + '.';
  Writer writer;
  writer.of_this_machine = name.starts_with(own);
  const size_t number = name.rfind('.');
  if (number == std::string_view::npos) return writer;
  name = name.substr(0, number);
  const auto last = [&name] {
    const std::string_view part = name.substr(name.rfind('.') + 1);  // npos + 1 is 0
    name.remove_suffix(std::min(part.size() + 1, name.size()));
    return part;
  };
  std::string_view part = last();
  if (part.size() == ProcessToken().size()) {
    writer.token = part;
    part = last();
  }
  std::from_chars(part.data(), part.data() + part.size(), writer.pid);
  return writer;
}

/// What tells the living from the dead.
struct Witnesses {
  std::vector<LiveRun> runs;
  bool locks_tell = false;  // every writer of this store is among the runs
  int64_t hour_ago_ns = 0;  // by the clock of the file system
};

bool MayLive(std::string_view name, int64_t mtime_ns, const Witnesses& witnesses) {
  const Writer writer = WriterOf(name);
  const bool seen =
      std::any_of(witnesses.runs.begin(), witnesses.runs.end(), [&](const LiveRun& run) {
        // In a container with this machine's name, a living process may have a number unknown here.
        return run.pid == 0 ||
               (writer.token.empty() ? run.pid == writer.pid : run.token == writer.token);
      });
  if (seen || writer.pid <= 0) return true;
  const bool gone =
      writer.of_this_machine && ::kill(static_cast<pid_t>(writer.pid), 0) != 0 && errno == ESRCH;
  if (gone) return false;
  // Somebody has that number, here or on another machine. Not every network file system carries
  // locks from one machine to the other: what may be somewhere else has to be old as well.
  if (!witnesses.locks_tell || writer.token.empty()) return true;
  return mtime_ns >= witnesses.hour_ago_ns - (writer.of_this_machine ? 0 : kDay_ns);
}

}  // namespace

bool IsPlainFolder(const std::string& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

void MakeStoreFolder(const std::string& path) {
  if (::mkdir(path.c_str(), 0777) == 0) return;
  const int failure = errno;
  if (failure == EEXIST && IsPlainFolder(path)) return;
  if (failure == EEXIST) {
    throw Error(
        fmt::format("\"{}\" is a link or no folder: nothing in a store is followed out of "
                    "it; remove it",
                    path));
  }
  throw Error(fmt::format("cannot create \"{}\": {}", path, std::strerror(failure)));
}

std::string NewTemporaryPath(const std::string& store) {
  static std::atomic<uint64_t> counter{0};  // two stores of one process may be one folder
  static const std::string host = HostName();
  return fmt::format("{}/tmp/{}.{}.{}.{}", store, host, ::getpid(), ProcessToken(), ++counter);
}

bool MoveToNewName(const std::string& from, const std::string& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return true;
  if (errno == EEXIST) return false;
  // Network file systems cannot do that, but they can make a second name.
  if (::link(from.c_str(), to.c_str()) == 0) {
    ::unlink(from.c_str());
    return true;
  }
  if (errno == EEXIST) return false;
  struct stat info {};
  if (::lstat(to.c_str(), &info) == 0) return false;
  if (::rename(from.c_str(), to.c_str()) == 0) return true;
  throw Error(fmt::format("cannot publish \"{}\": {}", to, std::strerror(errno)));
}

std::vector<std::string> FindLeftovers(const std::string& folder, const StoreLocks& locks) {
  std::vector<std::string> paths;
  if (!IsPlainFolder(folder)) return paths;
  Witnesses witnesses{locks.Others(), locks.binds(), locks.needed_since_ns()};
  witnesses.locks_tell = witnesses.locks_tell && witnesses.runs.size() + 1 < StoreLocks::kMaxRuns;
  std::error_code failure;
  for (fs::directory_iterator it(folder, failure), end; !failure && it != end;
       it.increment(failure)) {
    const std::string name = it->path().filename().string();
    struct stat info {};
    // Our own ones are in use, whichever object of this process writes them.
    if (WriterOf(name).token == ProcessToken()) continue;
    if (::lstat(it->path().c_str(), &info) != 0) continue;
    const int64_t mtime_ns = int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
    if (!MayLive(name, mtime_ns, witnesses)) paths.push_back(it->path().string());
  }
  return paths;
}

}  // namespace puzzle
