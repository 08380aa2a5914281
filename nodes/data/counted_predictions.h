// Which next-token predictions count where losses are taken on answers only. Immutable, so
// thread-safe.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace puzzle {

/// Of `mask` [sequences, length] (bool), the places that predict a token in it: [sequences, length
/// - 1]. The first token of a sequence is predicted by nothing.
[[nodiscard]] at::Tensor Predicting(const at::Tensor& mask);

/// Predictions of some sequences, `length - 1` of each, of which those count whose token is in a
/// mask.
class CountedPredictions {
 public:
  /// `mask` is bool [sequences, length]; undefined where no tokens are marked. Throws Error then,
  /// and when no prediction counts.
  explicit CountedPredictions(const at::Tensor& mask);

  /// How many count in the sequences before `sequence`.
  [[nodiscard]] int64_t Before(int64_t sequence) const {
    return before_[static_cast<size_t>(sequence)];
  }
  [[nodiscard]] int64_t Of(int64_t first, int64_t sequences) const {
    return Before(first + sequences) - Before(first);
  }
  [[nodiscard]] int64_t total() const { return before_.back(); }
  /// The sequences in which a prediction counts.
  [[nodiscard]] std::vector<int64_t> Sequences() const;
  /// Of `values` [sequences * (length - 1), ...], one for each prediction of the sequences [first,
  /// first + sequences), those that count.
  [[nodiscard]] at::Tensor Select(const at::Tensor& values, int64_t first, int64_t sequences) const;

 private:
  at::Tensor places_;  // int64 [total], in [0, all predictions)
  int64_t per_sequence_ = 0;
  std::vector<int64_t> before_;
};

}  // namespace puzzle
