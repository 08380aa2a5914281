// Ctrl-C and SIGTERM: the first one asks the run to stop, the second one kills it.
#pragma once

#include <stop_token>
#include <thread>

namespace puzzle {

/// While it lives, the first SIGINT or SIGTERM requests a stop and the second one ends the process
/// with status 130. One at a time.
class SignalWatcher {
 public:
  SignalWatcher();
  ~SignalWatcher();
  SignalWatcher(const SignalWatcher&) = delete;
  SignalWatcher& operator=(const SignalWatcher&) = delete;

  [[nodiscard]] std::stop_token token() const { return stop_.get_token(); }
  /// As the first signal would.
  void RequestStop() { stop_.request_stop(); }

 private:
  std::stop_source stop_;
  std::thread thread_;
};

}  // namespace puzzle
