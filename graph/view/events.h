// A run as lines of JSON, for programs that watch it: one object per event, in order. The members
// are described in README.md. Thread-safe.
#pragma once

#include <functional>
#include <string>

#include "graph/run/observer.h"

namespace puzzle {

/// Writes each event as one line, with its line end, in one call of `write`.
class EventWriter final : public Observer {
 public:
  explicit EventWriter(std::function<void(const std::string& line)> write)
      : write_(std::move(write)) {}

  void OnEvent(const RunEvent& event) override;

 private:
  std::function<void(const std::string& line)> write_;
};

}  // namespace puzzle
