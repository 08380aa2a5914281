// Computing with several threads by splitting the sequences of a batch. For models that fit a cache
// this beats threads inside each operator, and results do not depend on the number of threads: the
// split is fixed, and sums are taken in its order.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "model/math/thread_team.h"
#include "model/transformer.h"

namespace puzzle {

/// Calls work(0) ... work(count - 1) on the calling thread and on as many more as SetThreads
/// (model/math/runtime.h) allows it; each of them computes with one thread, in the caller's grad
/// mode. The first failure is thrown when all have stopped; what had not begun is left out. With a
/// team each of its threads does so, and whoever is free takes what comes next.
void ParallelFor(int64_t count, const std::function<void(int64_t)>& work,
                 const ThreadTeam& team = {});

/// Calls work(part, first, count) for the parts of rows [0, rows), as ParallelFor does. How rows
/// are split does not depend on the number of threads; a device that is no CPU gets one part.
void ParallelOverRows(int64_t rows, const at::Device& device,
                      const std::function<void(int64_t part, int64_t first, int64_t count)>& work);
/// How many parts that makes.
[[nodiscard]] int64_t RowParts(int64_t rows, const at::Device& device);

/// Gradients of a batch from parts of it, each of which has tensors of its own in the parameters'
/// place that share their storage. Belongs to one thread.
class GradientParts {
 public:
  /// What the sequences `rows` contribute to the loss of the batch, computed with the leaves of
  /// `part`; called from several threads at once.
  using Loss = std::function<at::Tensor(int64_t part, const std::vector<int64_t>& rows)>;

  /// A part works its sequences off in pieces of at most `piece_rows`, which bounds the memory.
  /// The threads of `team` share the parts, or, with several `devices`, one for each of them and
  /// the parameters' first, have one each: leaves on the others are copies, made anew for a batch.
  GradientParts(const std::vector<at::Tensor>& parameters, int64_t piece_rows, ThreadTeam team = {},
                const std::vector<at::Device>& devices = {});

  [[nodiscard]] int64_t parts() const { return static_cast<int64_t>(leaves_.size()); }
  /// In the order of the parameters; others in every call of the loss.
  [[nodiscard]] const std::vector<at::Tensor>& Leaves(int64_t part) const {
    const auto index = static_cast<size_t>(part);
    return stand_ins_[index].empty() ? leaves_[index] : stand_ins_[index];
  }
  /// The loss of the batch; its gradients by the parameters are in Gradients() until the next call.
  double Backward(const std::vector<int64_t>& rows, const Loss& loss);
  /// The same, but adds the gradients to `sums`, in the order of the parameters; one that is
  /// undefined becomes the first to be added. Parts are added in their order whoever computes them.
  /// Where all sums are defined and no part is worked off in pieces each gradient is added when it
  /// is found (OrderedSums): there are no whole ones but `sums`, and one for each other device.
  double AddGradients(const std::vector<int64_t>& rows, const Loss& loss,
                      std::vector<at::Tensor>& sums);
  [[nodiscard]] const std::vector<at::Tensor>& Gradients() const { return gradients_; }

  /// From now on parts of one device are worked off by the calling thread alone, one after another:
  /// what they take is that of one, and the bits are the same.
  void TakeOneAtATime() { one_at_a_time_ = true; }

 private:
  void ForEachPart(int64_t parts, const std::function<void(int64_t)>& work);
  double AddInTurn(const std::vector<int64_t>& rows, int64_t parts, const Loss& loss,
                   const std::vector<at::Tensor>& sums);
  void CopyParameters(int64_t part);
  void Take(int64_t part, std::vector<at::Tensor>& sums);

  int64_t piece_rows_;
  ThreadTeam team_;
  bool one_at_a_time_ = false;
  std::vector<at::Tensor> copied_;  // the parameters, where devices have leaves of their own
  std::vector<std::vector<at::Tensor>> leaves_;
  std::vector<std::vector<at::Tensor>> stand_ins_;  // for them, while AddInTurn runs
  std::vector<at::Tensor> gradients_;
};

/// GradientParts of a whole model. Belongs to one thread.
class DataParallel {
 public:
  /// The mean loss of `model` on some sequences; called from several threads at once.
  using Loss =
      std::function<at::Tensor(const Transformer& model, const std::vector<int64_t>& rows)>;

  /// `model`'s parameters are the leaves of an optimizer: their `grad` is defined and receives the
  /// sum. REQUIRES: the optimizer was made before, and lives as long.
  explicit DataParallel(const Transformer& model);

  /// Adds the gradient of the mean loss over `rows` to the parameters' gradients; returns that
  /// loss.
  double Backward(const std::vector<int64_t>& rows, const Loss& loss);

 private:
  ModelWeights weights_;
  std::vector<at::Tensor> parameters_;
  GradientParts gradients_;
};

}  // namespace puzzle
