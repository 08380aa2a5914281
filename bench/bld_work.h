// What benchmarks of blockwise distillation train on.
#pragma once

#include "model/block/sub_block.h"
#include "model/pch.h"
#include "model/transformer.h"
#include "nodes/states/sub_block_data.h"

namespace puzzle {

/// Random states [sequences, length, hidden] before a sub-block of layer 0, and the parent's
/// answers, in host memory and bf16, as they are stored.
inline SubBlockData RandomData(const Transformer& parent, SubBlock which, int64_t sequences,
                               int64_t length) {
  const at::NoGradGuard no_grad;
  const at::Device device = parent.weights().embedding.device();
  SubBlockData data;
  data.input = at::randn({sequences, length, parent.config().hidden_size}).to(at::kBFloat16);
  data.target = SubBlockOutput(SubBlockOf(parent.weights(), 0, which),
                               ParentVariant(parent.config(), 0, which), parent.config(),
                               parent.rotary(), data.input.to(device, at::kFloat))
                    .to(at::kCPU, at::kBFloat16);
  data.power = data.target.to(at::kFloat).square().sum(-1);
  return data;
}

}  // namespace puzzle
