#include "graph/store/leftovers.h"

#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>

namespace puzzle {
namespace {

namespace fs = std::filesystem;

/// Whether a file "host.pid.number" may have a living writer. Of other machines nothing is known
/// for sure: not every network file system carries locks from one to the other.
bool MayLive(std::string_view name, const std::vector<LiveRun>& runs) {
  const std::string own = HostName() + '.';
  int64_t pid = 0;
  if (!name.starts_with(own)) return true;
  std::from_chars(name.data() + own.size(), name.data() + name.size(), pid);
  if (pid <= 0 || ::kill(static_cast<pid_t>(pid), 0) == 0 || errno != ESRCH) return true;
  // In a container with this machine's name, a living process may have a number unknown here.
  return std::any_of(runs.begin(), runs.end(), [&](const LiveRun& run) {
    return run.pid == 0 || (run.pid == pid && own.starts_with(run.host));
  });
}

}  // namespace

std::vector<std::string> FindLeftovers(const std::string& folder, const StoreLocks& locks) {
  std::vector<std::string> paths;
  std::error_code failure;
  const std::vector<LiveRun> runs = locks.Others();
  for (fs::directory_iterator it(folder, failure), end; !failure && it != end;
       it.increment(failure)) {
    if (!MayLive(it->path().filename().string(), runs)) paths.push_back(it->path().string());
  }
  return paths;
}

}  // namespace puzzle
