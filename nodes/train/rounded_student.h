// A student in training as its products see it: rounded once for all parts of a batch. Belongs to
// one thread.
#pragma once

#include <ATen/core/Tensor.h>

#include <utility>

#include "model/fused_blocks.h"
#include "model/math/optim.h"

namespace puzzle {

class RoundedStudent {
 public:
  /// The types of the products in blocks and with the vocabulary. What is rounded lies in flat
  /// tensors in bf16 that `room` makes once, in memory of its own without it.
  RoundedStudent(at::ScalarType blocks, at::ScalarType head, MakeFlat room)
      : blocks_(blocks), head_(head), room_(std::move(room)) {}

  /// Of the values that `model` has now; with a room until the next call. Null where products are
  /// in fp32, and where Rounded says so.
  [[nodiscard]] RoundedBlocks Blocks(const Transformer& model);
  /// The matrix of the head; undefined where products are in fp32 or not on a CPU.
  [[nodiscard]] at::Tensor Head(const Transformer& model);

 private:
  const at::ScalarType blocks_, head_;
  const MakeFlat room_;
  at::Tensor place_of_blocks_, place_of_head_;
};

}  // namespace puzzle
