// Who shares a computation beside the threads of the caller's own lane.
#pragma once

#include <cstddef>
#include <functional>

namespace puzzle {

/// Threads that compute together, the caller's first: they share the memory of the CPU, or each is
/// bound to a device of its own. A value; whoever makes it sees that the threads live as long.
struct ThreadTeam {
  size_t size = 1;
  /// Calls work(0) ... work(size - 1), each on its own thread, and returns when all have ended;
  /// throws the failure of the first that failed. Not needed by a team of one.
  std::function<void(const std::function<void(size_t)>& work)> on_each = {};
};

}  // namespace puzzle
