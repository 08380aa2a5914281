// Which sequences make up each training step.
#pragma once

#include <cstdint>
#include <numeric>
#include <vector>

#include "io/random.h"

namespace puzzle {

/// Sequences in random order, every one once per epoch; deterministic in the seed. One object
/// belongs to one thread.
class SequenceOrder {
 public:
  SequenceOrder(int64_t sequences, uint64_t seed)
      : random_(seed), order_(static_cast<size_t>(sequences)), next_(order_.size()) {
    std::iota(order_.begin(), order_.end(), 0);
  }

  /// The sequences of the next step.
  [[nodiscard]] std::vector<int64_t> Next(int64_t count) {
    std::vector<int64_t> rows;
    while (static_cast<int64_t>(rows.size()) < count) {
      if (next_ == order_.size()) {
        random_.Shuffle(order_);
        next_ = 0;
      }
      rows.push_back(order_[next_++]);
    }
    return rows;
  }

  /// As after `steps` steps of `count` sequences.
  void Skip(int64_t steps, int64_t count) {
    for (int64_t step = 0; step < steps; ++step) (void)Next(count);
  }

 private:
  Random random_;
  std::vector<int64_t> order_;
  size_t next_;
};

}  // namespace puzzle
