// What benchmarks of blockwise distillation train on, and how much of it is useful.
#pragma once

#include <string>
#include <variant>

#include "model/block/sub_block.h"
#include "model/pch.h"
#include "model/transformer.h"
#include "nodes/states/sub_block_data.h"

namespace puzzle {

/// Products of one token in a sequence of `length`, forward and backward, no more than the
/// mathematics needs; inputs need no gradient. REQUIRES: a full sub-block.
inline double UsefulFlop(const VariantSpec& spec, const ModelConfig& config, int64_t length) {
  const auto d = static_cast<double>(config.hidden_size);
  if (const auto* ffn = std::get_if<FfnSpec>(&spec)) {
    const double product = 2 * d * static_cast<double>(ffn->size);
    return 3 * product + 4 * product;  // backward: three matrices and the gated channels
  }
  const auto& attention = std::get<AttentionSpec>(spec);
  const auto q = static_cast<double>(config.n_heads * config.head_dim);
  const auto kv = static_cast<double>(attention.n_kv_heads * config.head_dim);
  const double matrices = 2 * d * (2 * q + 2 * kv);
  const double scores = 2 * q * static_cast<double>(length + 1) / 2;
  return 2 * matrices + 2 * d * q + 2 * scores + 4 * scores;
}

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
