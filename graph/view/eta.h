// How long a run will still take: what past runs took, corrected by what this run measured.
// Thread-compatible.
#pragma once

#include <map>
#include <vector>

#include "graph/run/observer.h"

namespace puzzle {

/// Follows the events of one run. Times are of the caller's clock.
class Eta {
 public:
  /// REQUIRES: plan and forecast outlive it.
  Eta(const Plan& plan, const Forecast& forecast, size_t lanes);

  void OnEvent(const RunEvent& event, double now_s);

  /// Seconds until the last step of a node is done, if nothing else were to run.
  [[nodiscard]] double Node(size_t node, double now_s) const;
  /// Seconds until everything is done: all work shared by the lanes, or the longest chain of steps
  /// if that is more.
  [[nodiscard]] double Total(double now_s) const;

 private:
  struct Running {
    double since_s = 0;
    double fraction = 0;
    double begun = 0;  // of that, when it began
  };
  /// Seconds of finished steps of a node, and what had been expected of them.
  struct Measured {
    double took_s = 0;
    double expected_s = 0;
    size_t count = 0;
  };

  [[nodiscard]] double Correction(size_t node) const;
  [[nodiscard]] double Left(StepId step, double now_s) const;
  [[nodiscard]] double NodeLeft(size_t node, double now_s) const;

  const Plan& plan_;
  const Forecast& forecast_;
  const double lanes_;
  std::vector<bool> done_;
  std::vector<double> pending_s_;   // by node: expected of steps that have not begun
  std::vector<bool> guessed_;       // by node: nothing of its kind ran before
  std::vector<Measured> measured_;  // by node
  std::vector<std::map<StepId, Running>> running_;  // by node
};

}  // namespace puzzle
