// What a run looks like to somebody who watches: lines for a terminal (rewritten in place) or plain
// lines (no control codes). Text goes to a function; nothing is printed here. Thread-safe.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "graph/run/observer.h"

namespace puzzle {

/// An observer with a clock: Tick is to be called a few times a second.
class ProgressView : public Observer {
 public:
  virtual void Tick() = 0;
};

struct ProgressOptions {
  std::function<void(const std::string& text)> write;
  std::function<int()> width = [] { return 100; };  // columns of the terminal
  std::function<int()> height = [] { return 25; };  // rows of the terminal
  double plain_interval_s = 10;                     // between lines about one long step
  /// Seconds since some moment; a test may turn it by hand.
  std::function<double()> clock = [] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
  };
};

/// One line per node with counts, and the step that runs longest:
///   bld     [###########-----]  64/96  cached 40  running 2  eta 3m10s   (bld[layer=5] 41s, ...)
[[nodiscard]] std::unique_ptr<ProgressView> MakeTerminalView(ProgressOptions options);

/// One line per start, end and failure, and one every `plain_interval_s` for long steps.
[[nodiscard]] std::unique_ptr<ProgressView> MakePlainView(ProgressOptions options);

}  // namespace puzzle
