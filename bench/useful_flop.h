// Floating-point operations that training and the library's steps need, for one token in a sequence
// of `length`: those of products, no more than the mathematics asks for. What is computed again,
// elementwise work and the optimizer do not count. A product of a vector and an m x n matrix is
// 2 m n. With d the hidden size, q and kv the widths of all query and kv heads, f the channels of
// an FFN, V the vocabulary:
//
//   scores           S = 2 q (length + 1) / 2: queries with the keys they see; as much for values
//   attention        forward 2 d (2 q + 2 kv) + 2 S
//   FFN              forward 3 * 2 d f with a gate, 2 * 2 d f without
//   linear           forward 2 d d
//   a sub-block in   forward, the gradients of its matrices (as much as their products forward),
//   training         and those on the way to them: attention 2 d q + 4 S, a gated FFN 2 d f. Its
//                    inputs need none, since a norm's weight is folded into the matrices
//   a linear one     X^T X and X^T Y: 4 d d, once in closed form or in every pass by gradients
//   activations      the blocks forward
//   importance       the same: ranking channels is a product with the last matrix, divided
//                    between those that are gone and those that are left
//   distillation     teacher forward, student three times as much, both with the head, 2 d V
#pragma once

#include <cstdint>
#include <variant>

#include "model/shape/config.h"
#include "model/shape/variant.h"

namespace puzzle {

/// S above. REQUIRES: full attention without a window.
inline double ScoresFlop(const AttentionSpec& spec, const ModelConfig& config, int64_t length) {
  const auto q = static_cast<double>(QueryHeads(spec, config) * config.head_dim);
  return 2 * q * static_cast<double>(length + 1) / 2;
}

/// The matrices of a sub-block.
inline double MatricesFlop(const VariantSpec& spec, const ModelConfig& config) {
  const auto d = static_cast<double>(config.hidden_size);
  if (const auto* ffn = std::get_if<FfnSpec>(&spec)) {
    if (ffn->is_none()) return 0;
    if (ffn->is_linear()) return 2 * d * d;
    return (config.arch.gated_ffn ? 3 : 2) * 2 * d * static_cast<double>(ffn->size);
  }
  const auto& attention = std::get<AttentionSpec>(spec);
  if (attention.is_none()) return 0;
  if (attention.is_linear()) return 2 * d * d;
  const auto q = static_cast<double>(QueryHeads(attention, config) * config.head_dim);
  const auto kv = static_cast<double>(attention.n_kv_heads * config.head_dim);
  return 2 * d * (2 * q + 2 * kv);
}

/// A sub-block, or a block.
inline double ForwardFlop(const VariantSpec& spec, const ModelConfig& config, int64_t length) {
  double flop = 0;
  for (const VariantSpec& part : PartsOf(spec)) {
    flop += MatricesFlop(part, config);
    const auto* attention = std::get_if<AttentionSpec>(&part);
    if (attention != nullptr && attention->is_full())
      flop += 2 * ScoresFlop(*attention, config, length);
  }
  return flop;
}

/// A sub-block in blockwise training. REQUIRES: not `none`.
inline double TrainingFlop(const VariantSpec& spec, const ModelConfig& config, int64_t length) {
  const double matrices = MatricesFlop(spec, config);
  const auto d = static_cast<double>(config.hidden_size);
  if (const auto* ffn = std::get_if<FfnSpec>(&spec))
    return 2 * matrices + (ffn->is_full() ? 2 * d * static_cast<double>(ffn->size) : 0);
  const auto& attention = std::get<AttentionSpec>(spec);
  if (!attention.is_full()) return 2 * matrices;
  const auto q = static_cast<double>(QueryHeads(attention, config) * config.head_dim);
  return 2 * matrices + 2 * d * q + 6 * ScoresFlop(attention, config, length);
}

/// All blocks.
inline double BlocksFlop(const ModelConfig& config, int64_t length) {
  double flop = 0;
  for (const BlockSpec& block : config.blocks) flop += ForwardFlop(block, config, length);
  return flop;
}

inline double HeadFlop(const ModelConfig& config) {
  return 2 * static_cast<double>(config.hidden_size) * static_cast<double>(config.vocab_size);
}

/// A step of distillation, teacher beside, everything trained.
inline double DistillationFlop(const ModelConfig& teacher, const ModelConfig& student,
                               int64_t length) {
  return BlocksFlop(teacher, length) + HeadFlop(teacher) +
         3 * (BlocksFlop(student, length) + HeadFlop(student));
}

}  // namespace puzzle
