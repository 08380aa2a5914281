// A clock that never goes back, for how long things take. Thread-safe.
#pragma once

#include <chrono>

namespace puzzle {

/// Seconds since some moment; only differences mean something.
[[nodiscard]] inline double MonotonicSeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace puzzle
