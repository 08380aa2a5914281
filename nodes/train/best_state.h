// The best that a training has reached, by a figure measured on what it does not learn from. A
// repair must not return something worse than what it was given.
#pragma once

#include <cstdint>
#include <functional>

#include "graph/kind/kind.h"
#include "model/math/optim.h"

namespace puzzle {

/// Watches an optimizer's parameters. Belongs to the thread of the training.
class BestState {
 public:
  /// `measure` gives the figure of the parameters as they are: less is better, NaN is worst. The
  /// copy lies in what `room` makes, where the parameters are without one.
  BestState(const AdamW& optimizer, std::function<double()> measure, MakeFlat room = {});

  /// Measures after `step` steps (0: before the first), and keeps a copy of what is better than all
  /// before. Returns the figure.
  double Consider(int64_t step);
  /// The parameters become those of the best step. REQUIRES: Consider was called.
  void PutBack();

  [[nodiscard]] double first() const { return first_; }
  [[nodiscard]] double best() const { return best_; }
  [[nodiscard]] int64_t best_step() const { return best_step_; }

  /// Part of a save point.
  void Save(ArchiveWriter& out) const;
  void Restore(const ArchiveReader& in);

 private:
  void MakeRoom();

  at::Tensor parameters_;  // the optimizer's own
  std::function<double()> measure_;
  MakeFlat room_;
  at::Tensor copy_;
  double first_ = 0;
  double best_ = 0;
  int64_t best_step_ = 0;
};

}  // namespace puzzle
