// A run in virtual time: the steps of a plan on machines that are only modelled, handed out by the
// queue that real lanes share (graph/run/ready_queue.h). Nothing sleeps and nothing is computed;
// equal arguments give equal results. Thread-safe (pure functions).
//
// What is modelled: lanes, one step at a time each; what a machine has read stays in its memory
// while there is room, the least recently used goes first; reads and writes queue for the machine's
// link and for the store that all machines share; a result is there for others when it is written.
// Claims are perfect: no two lanes want the same step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "graph/plan/plan.h"
#include "graph/plan/stale.h"

namespace puzzle {

/// Something that a step reads: all of a result, or a part of it that has a number of its own.
struct Cargo {
  uint64_t content = 0;
  double bytes = 0;
};

/// What a step of a plan costs.
struct VirtualStep {
  double seconds = 0;  // on its lane, or on a thread of the first machine; reads apart
  std::vector<Cargo> reads;
  double result_bytes = 0;
};

/// The machines. Rates may be infinite.
struct Plant {
  size_t machines = 1;
  size_t lanes = 1;                // of each machine
  double memory_bytes = 0;         // of each machine, for what its lanes have read
  double link_bytes_per_s = 0;     // of each machine
  double store_bytes_per_s = 0;    // of all machines together
  double seconds_around_step = 0;  // claim, look-up and publication
};

struct VirtualRun {
  /// When a step was taken, had its inputs, left its lane, and was there for others.
  struct Span {
    double taken_s = 0, began_s = 0, ended_s = 0, published_s = 0;
    bool on_lane = false;
  };
  std::vector<Span> spans;  // per step
  double makespan_s = 0;
  double busy_s = 0;     // of all lanes: computing
  double waiting_s = 0;  // of all lanes: for what they read
  double read_bytes = 0, written_bytes = 0;

  /// Of the time of `lanes` lanes.
  [[nodiscard]] double BusyShare(size_t lanes) const { return Share(busy_s, lanes); }
  [[nodiscard]] double WaitingShare(size_t lanes) const { return Share(waiting_s, lanes); }
  [[nodiscard]] double IdleShare(size_t lanes) const {
    return Share(makespan_s * static_cast<double>(lanes) - busy_s - waiting_s, lanes);
  }

 private:
  [[nodiscard]] double Share(double seconds, size_t lanes) const {
    return makespan_s > 0 ? seconds / (makespan_s * static_cast<double>(lanes)) : 0;
  }
};

/// Runs every step of `plan`. `forecast` gives the urgency of steps (remaining_s).
/// REQUIRES: one element of `steps` per step; machines and lanes at least 1.
[[nodiscard]] VirtualRun RunVirtually(const Plan& plan, const Forecast& forecast,
                                      const std::vector<VirtualStep>& steps, const Plant& plant);

}  // namespace puzzle
