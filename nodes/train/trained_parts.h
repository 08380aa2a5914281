// Which of a child's weights a global distillation trains (`train` of `gkd`). Belongs to one
// thread.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "model/transformer.h"
#include "nodes/train/kinds.h"

namespace puzzle {

/// A student in training and the tensors that are trained:
///   all       every weight;
///   changed   sub-blocks that are not the teacher's, each whole;
///   norms     norms, biases, and the last matrix of every sub-block;
///   adapters  W + B A for every matrix W of a block, of B [out, rank] and A [rank, in] only, which
///             Merge adds at the end. B begins with zeros, A with normal numbers / sqrt(in).
/// The rest stays as it is, bit for bit, and gradients of it are not computed.
class TrainedParts {
 public:
  /// Throws Error when there is nothing to train. Weights are the student's own storage.
  TrainedParts(const GkdParams& params, const ModelWeights& teacher, const Transformer& student,
               uint64_t seed);

  /// What an optimizer takes over.
  [[nodiscard]] const std::vector<at::Tensor>& parameters() const { return parameters_; }
  /// The student with `tensors`, in the order of the parameters, in their place; differentiable in
  /// them. The rest is `others`: the student's own, or OthersOn the tensors' device.
  [[nodiscard]] Transformer With(const std::vector<at::Tensor>& tensors,
                                 const ModelWeights& others) const;
  /// The same for FusedBlocks, which read values of the matrices of full sub-blocks that were
  /// rounded before: where these have adapters, those here are NaN and take no memory.
  [[nodiscard]] Transformer ForFused(const std::vector<at::Tensor>& tensors,
                                     const ModelWeights& others) const;
  /// The student's weights, of which those that no parameter takes the place of are on `device`.
  [[nodiscard]] ModelWeights OthersOn(const at::Device& device) const;
  /// As it is now.
  [[nodiscard]] Transformer Now() const { return With(parameters_, student_.weights()); }
  /// The same, but that what ForFused leaves out is read when it is used (model/unread.h).
  [[nodiscard]] Transformer NowForFused() const;
  /// Puts what was trained into the student's weights, once.
  void Merge();

 private:
  /// Makes a matrix of `adapted_` from what it is without its adapter, B and A.
  using Adapt = at::Tensor (*)(const at::Tensor& matrix, const at::Tensor& b, const at::Tensor& a);
  /// `plain` makes the matrices that every pass reads, `of_full` those of full sub-blocks.
  [[nodiscard]] Transformer With(const std::vector<at::Tensor>& tensors, const ModelWeights& others,
                                 Adapt plain, Adapt of_full) const;

  Transformer student_;
  std::vector<size_t> trained_;   // places among the student's Slots, in their order
  std::vector<size_t> adapted_;   // the same, of matrices with adapters
  std::vector<bool> is_of_full_;  // of these: whether it is a full sub-block's
  std::vector<at::Tensor> parameters_;
};

}  // namespace puzzle
