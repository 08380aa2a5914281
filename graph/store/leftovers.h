// Files that runs which died left half-written. Thread-safe.
#pragma once

#include <string>
#include <vector>

#include "graph/store/locks.h"

namespace puzzle {

/// Paths of the files "host.pid.number" in `folder` whose process is dead for sure: a process of
/// this machine that is gone and no live run of the store. Never fails.
[[nodiscard]] std::vector<std::string> FindLeftovers(const std::string& folder,
                                                     const StoreLocks& locks);

}  // namespace puzzle
