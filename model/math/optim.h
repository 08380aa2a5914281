// AdamW over one flat buffer, and the learning-rate schedule. One optimizer belongs to one thread.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "model/math/thread_team.h"

namespace puzzle {

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.1;  // of matrices; vectors (norms) are not decayed
  double clip_norm = 1.0;     // of the whole gradient; 0: no clipping
};

/// The root of the sum of squares of a flat tensor, fp32, to the same bits on any number of
/// threads. Not finite where a value is not; it may be so where squares are beyond fp32.
[[nodiscard]] double GradientNorm(const at::Tensor& values);

/// Makes a flat tensor of so many elements, fp32 and zeros, on the CPU.
using MakeFlat = std::function<at::Tensor(int64_t elements)>;

/// Decoupled weight decay (arXiv 1711.05101). The parameters' storage moves into one contiguous
/// buffer, and so do their gradients, so that a step is two passes over flat memory.
class AdamW {
 public:
  /// Takes over `parameters`: they become leaves that require gradients. REQUIRES: fp32, defined.
  /// The threads of `team` share the updates. Values depend on the number of no threads. Parameters
  /// and moments, which a step goes through once, lie in what `room` makes, in memory without one;
  /// gradients in what `gradient_room` makes.
  AdamW(std::vector<at::Tensor> parameters, const AdamWOptions& options, ThreadTeam team = {},
        const MakeFlat& room = {}, const MakeFlat& gradient_room = {});

  void ZeroGrad();
  /// One update from the accumulated gradients. Returns their norm before clipping; when that is
  /// not finite nothing is changed.
  double Step(double learning_rate);

  /// What later steps depend on, beside the gradients: each [elements], fp32.
  struct State {
    at::Tensor values, mean, square;
    int64_t updates = 0;
  };
  /// Shares the optimizer's storage.
  [[nodiscard]] State state() const { return {values_, mean_, square_, steps_}; }
  /// Goes on from there: parameters and moments are copied. Throws Error when their number is
  /// another.
  void Restore(const State& state);

 private:
  // One step's coefficients; see AdamWUpdate in model/math/kernels.h.
  struct Update {
    double grad_scale = 1, keep = 1, step_size = 0, square_scale = 1;
  };
  // Updates the elements [first, first + count) of the buffers.
  void Apply(const Update& update, int64_t first, int64_t count);

  AdamWOptions options_;
  ThreadTeam team_;
  std::vector<at::Tensor> parameters_;
  int64_t decayed_ = 0;  // the first elements of the buffer are matrices
  int64_t steps_ = 0;
  at::Tensor values_, grads_, mean_, square_;
};

/// Linear warm-up over `warmup` * `steps`, then cosine from `peak` to `final_ratio` * peak.
/// `step` counts from 0.
[[nodiscard]] double CosineSchedule(int64_t step, int64_t steps, double peak, double warmup = 0.05,
                                    double final_ratio = 0.0);

}  // namespace puzzle
