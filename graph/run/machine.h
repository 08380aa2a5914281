// What this machine, or the container that the process lives in, leaves to it. Thread-safe.
#pragma once

#include <cstdint>
#include <limits>
#include <string>

namespace puzzle {

/// What control groups (cgroup v1 and v2) allow: the tightest of all that the process is nested in.
struct GroupLimits {
  double cores = std::numeric_limits<double>::infinity();
  uint64_t free_bytes = UINT64_MAX;  // until the memory limit; files that can be dropped are free
};

/// Reads them below `root`, "" for this machine: `root` + "/proc/self/cgroup" and so on. What
/// cannot be read limits nothing.
[[nodiscard]] GroupLimits ReadGroupLimits(const std::string& root = "");

/// As many of `cores` as the quota leaves, rounded up; at least 1.
[[nodiscard]] int WithinQuota(int cores, const GroupLimits& limits);
/// Cores that this process may use, at least 1: by affinity and by the quotas of its groups.
[[nodiscard]] int AvailableCores();
/// Memory that is free for steps now, or what the groups leave if that is less; 0 when it is
/// unknown.
[[nodiscard]] uint64_t AvailableMemory();

}  // namespace puzzle
