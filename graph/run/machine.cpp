#include "graph/run/machine.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <optional>
#include <sstream>
#include <thread>
#include <vector>

namespace puzzle {
namespace {

std::optional<double> FirstNumber(const std::string& path) {
  std::ifstream file(path);
  double number = 0;
  if (!(file >> number)) return std::nullopt;  // "max" is no number
  return number;
}

/// The number after `name` in a file of lines such as "MemAvailable:  123 kB"; 0 when absent.
double NumberIn(const std::string& path, const std::string& name) {
  std::ifstream file(path);
  std::string word;
  double number = 0;
  while (file >> word) {
    if (word == name && file >> number) return number;
  }
  return 0;
}

bool HasOption(const std::string& list, const std::string& option) {
  return (',' + list + ',').find(',' + option + ',') != std::string::npos;
}

/// Where a hierarchy of groups is mounted, and which of its groups stands at the mount point.
struct Mount {
  std::string point;
  std::string top;
};

/// `controller` "" means version 2.
std::optional<Mount> FindMount(const std::string& root, const std::string& controller) {
  std::ifstream file(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    // id parent major:minor top point options [more...] - type source super-options
    std::istringstream words(line);
    std::string skip, top, point, type, source, super;
    words >> skip >> skip >> skip >> top >> point;
    while (words >> skip && skip != "-") {
    }
    words >> type >> source >> super;
    const bool version_2 = type == "cgroup2" && controller.empty();
    const bool version_1 = type == "cgroup" && !controller.empty() && HasOption(super, controller);
    if (version_2 || version_1) return Mount{root + point, top};
  }
  return std::nullopt;
}

/// The group of this process in a hierarchy.
std::optional<std::string> FindGroup(const std::string& root, const std::string& controller) {
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    // number:controllers:path
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool found = controller.empty() ? line.starts_with("0:") && controllers.empty()
                                          : HasOption(controllers, controller);
    if (found) return line.substr(second + 1);
  }
  return std::nullopt;
}

/// Folders of the group and of all around it, as far as they can be seen.
std::vector<std::string> GroupFolders(const std::string& root, const std::string& controller) {
  const auto mount = FindMount(root, controller);
  const auto group = FindGroup(root, controller);
  if (!mount || !group) return {};
  std::string path = *group;
  if (mount->top != "/" && (path + '/').starts_with(mount->top + '/'))
    path.erase(0, mount->top.size());
  std::vector<std::string> folders;
  // In a container the path may be that of the machine outside: then only the top can be seen.
  while (!path.empty() && path != "/") {
    folders.push_back(mount->point + path);
    path.erase(path.rfind('/'));
  }
  folders.push_back(mount->point);
  return folders;
}

void LimitCores(GroupLimits& limits, double quota, double period) {
  if (quota > 0 && period > 0) limits.cores = std::min(limits.cores, quota / period);
}

void LimitMemory(GroupLimits& limits, const std::optional<double>& limit, double used,
                 double droppable) {
  constexpr double kNoLimit = 1e18;  // version 1 writes almost 2^63
  if (!limit || *limit >= kNoLimit) return;
  const double free = std::max(0.0, *limit - std::max(0.0, used - droppable));
  limits.free_bytes = std::min(limits.free_bytes, static_cast<uint64_t>(free));
}

}  // namespace

GroupLimits ReadGroupLimits(const std::string& root) {
  GroupLimits limits;
  for (const std::string& folder : GroupFolders(root, "")) {
    std::ifstream file(folder + "/cpu.max");
    double quota = 0, period = 0;
    if (file >> quota >> period) LimitCores(limits, quota, period);
    LimitMemory(limits, FirstNumber(folder + "/memory.max"),
                FirstNumber(folder + "/memory.current").value_or(0),
                NumberIn(folder + "/memory.stat", "inactive_file"));
  }
  for (const std::string& folder : GroupFolders(root, "cpu")) {
    LimitCores(limits, FirstNumber(folder + "/cpu.cfs_quota_us").value_or(-1),
               FirstNumber(folder + "/cpu.cfs_period_us").value_or(0));
  }
  for (const std::string& folder : GroupFolders(root, "memory")) {
    LimitMemory(limits, FirstNumber(folder + "/memory.limit_in_bytes"),
                FirstNumber(folder + "/memory.usage_in_bytes").value_or(0),
                NumberIn(folder + "/memory.stat", "total_inactive_file"));
  }
  return limits;
}

int WithinQuota(int cores, const GroupLimits& limits) {
  if (limits.cores < cores) cores = static_cast<int>(std::ceil(limits.cores));
  return std::max(1, cores);
}

int AvailableCores() {
  int cores = static_cast<int>(std::thread::hardware_concurrency());
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) == 0) cores = CPU_COUNT(&set);
  return WithinQuota(cores, ReadGroupLimits());
}

uint64_t AvailableMemory() {
  constexpr double kKib = 1024;
  const auto machine = static_cast<uint64_t>(NumberIn("/proc/meminfo", "MemAvailable:") * kKib);
  const uint64_t groups = ReadGroupLimits().free_bytes;
  return machine == 0 ? (groups == UINT64_MAX ? 0 : groups) : std::min(machine, groups);
}

}  // namespace puzzle
