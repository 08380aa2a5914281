// Gradients of parts of a batch that are computed side by side, added up on the way: of whole
// gradients there are the sums alone, however many threads there are. Thread-safe as far as parts
// are different.
#pragma once

#include <ATen/core/Tensor.h>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <vector>

namespace puzzle {

/// Every parameter's gradients are added in the order of the parts, by whoever computes them: to
/// the same bits as one part after the other. A part whose turn has not come waits, within its
/// backward pass, for the one before it, which is a layer or so ahead if both began together.
class OrderedSums {
 public:
  /// One tensor for each parameter, to which is added. `sums` has to live as long.
  explicit OrderedSums(const std::vector<at::Tensor>& sums);
  OrderedSums(const OrderedSums&) = delete;
  OrderedSums& operator=(const OrderedSums&) = delete;

  /// Tensors with the values of `parameters` to compute the loss of a part with: what a backward
  /// pass finds for one of them is added to its sum at once and kept nowhere. REQUIRES: a part is
  /// asked for when all before it are; this object lives until its backward pass has ended.
  [[nodiscard]] std::vector<at::Tensor> StandIns(int64_t part,
                                                 const std::vector<at::Tensor>& parameters);
  /// The part has no more to add.
  void End(int64_t part);
  /// The part failed with the current exception, which those who wait for it throw as well.
  void Fail();

 private:
  class Sink;

  /// Waits until all parts before have added what they have for a parameter.
  void Await(int64_t part, size_t parameter);
  void Add(int64_t part, size_t parameter, const at::Tensor& gradient);

  const std::vector<at::Tensor>& sums_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<int64_t> turn_;  // per parameter: the part that may add
  std::exception_ptr failure_;
};

}  // namespace puzzle
