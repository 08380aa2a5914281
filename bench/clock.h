// What something takes: seconds on the wall, and those of the processor, which other work on the
// machine changes less. For benchmarks.
#pragma once

#include <algorithm>
#include <chrono>
#include <ctime>
#include <functional>
#include <vector>

namespace puzzle {

/// Seconds.
struct Spent {
  double wall = 0, processor = 0;  // of all threads of this process

  Spent operator-(const Spent& before) const {
    return {wall - before.wall, processor - before.processor};
  }
  Spent& operator+=(const Spent& more) {
    wall += more.wall;
    processor += more.processor;
    return *this;
  }
};

/// Since some moment that stays the same.
inline Spent SpentUntilNow() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return {
      std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(),
      static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec)};
}

inline Spent SpentOn(const std::function<void()>& run) {
  const Spent start = SpentUntilNow();
  run();
  return SpentUntilNow() - start;
}

/// The upper one of an even number of values. REQUIRES: not empty.
inline double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace puzzle
