// A sub-block, or a whole block, as a function of a list of tensors: what optimizers and
// GradientParts work on.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "model/transformer.h"

namespace puzzle {

/// Parameters and what is computed from them. Thread-safe as far as its functions are called with
/// different tensors.
struct Trainable {
  /// Share storage with the weights it was made from.
  std::vector<at::Tensor> parameters;
  /// What `output` reads, computed from the parameters and differentiable in them: once per step,
  /// whatever the batch.
  std::function<std::vector<at::Tensor>()> prepare;
  /// The answer [batch, seq, hidden] in fp32 to an input of the same shape, computed in the input's
  /// type (fp32 or bf16). `prepared` are the tensors of `prepare`, or leaves in their place.
  std::function<at::Tensor(const std::vector<at::Tensor>& prepared, const at::Tensor& input)>
      output;
};

/// SubBlockOutput; its input is what InputOf gives. `config` and `rotary` have to live as long.
/// REQUIRES: not `none`.
[[nodiscard]] Trainable TrainableSubBlock(const SubBlockWeights& weights, const VariantSpec& spec,
                                          const ModelConfig& config, const RotaryTable& rotary);

}  // namespace puzzle
