// A model small enough to check by hand, and comparisons of tensors.
#pragma once

#include <gtest/gtest.h>

#include "model/pch.h"
#include "model/weights.h"

namespace puzzle {

/// 2 layers, hidden 32, 4 query heads and 2 kv heads of 8, FFN 48, vocabulary 40, tied.
inline ModelConfig TinyConfig() {
  ModelConfig config;
  config.vocab_size = 40;
  config.hidden_size = 32;
  config.n_heads = 4;
  config.head_dim = 8;
  config.max_positions = 64;
  config.tied_embeddings = true;
  config.bos_id = 1;
  config.eos_ids = {2};
  config.blocks.assign(2, {{SubBlockForm::kFull, 2}, {SubBlockForm::kFull, 48}});
  return config;
}

/// Random weights, larger than at the start of a training so that every part matters.
inline ModelWeights TinyModel(ModelConfig config = TinyConfig()) {
  ModelWeights model = RandomModel(config, 7);
  for (const auto& [name, slot] : Slots(model))
    if (slot->dim() > 1) slot->mul_(8.0);
  return model;
}

inline at::Tensor RandomTensor(const Shape& shape, uint64_t seed) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  return at::randn(shape, generator);
}

inline double MaxDifference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

#define EXPECT_TENSORS_NEAR(a, b, tolerance)                      \
  do {                                                            \
    const at::Tensor left = (a), right = (b);                     \
    ASSERT_EQ(left.sizes(), right.sizes());                       \
    EXPECT_LE(::puzzle::MaxDifference(left, right), (tolerance)); \
  } while (false)

}  // namespace puzzle
