// What a run shows on standard output while it goes on.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "graph/view/progress.h"

namespace puzzle {

/// For a terminal, or plain lines where there is none and where they are wanted.
[[nodiscard]] std::unique_ptr<ProgressView> MakeOutputView(bool plain);

/// Calls Tick of a view five times a second.
class Ticker {
 public:
  explicit Ticker(ProgressView* view) {
    if (view == nullptr) return;
    thread_ = std::jthread([this, view](const std::stop_token& stop) {
      std::unique_lock lock(mutex_);
      while (!wake_.wait_for(lock, stop, std::chrono::milliseconds(200),
                             [&] { return stop.stop_requested(); })) {
        view->Tick();
      }
    });
  }

 private:
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread thread_;
};

}  // namespace puzzle
