// When a search for a choice has to end. Belongs to one thread.
#pragma once

#include <chrono>
#include <functional>

namespace puzzle {

class MipClock {
 public:
  MipClock(double limit_s, std::function<bool()> should_stop)
      : limit_s_(limit_s), should_stop_(std::move(should_stop)) {}

  [[nodiscard]] double elapsed_s() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }
  [[nodiscard]] double left_s() const { return limit_s_ - elapsed_s(); }
  [[nodiscard]] const std::function<bool()>& should_stop() const { return should_stop_; }
  /// Time is up or the caller asked to stop.
  [[nodiscard]] bool Expired() const { return left_s() <= 0 || (should_stop_ && should_stop_()); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  double limit_s_;
  std::function<bool()> should_stop_;
};

}  // namespace puzzle
