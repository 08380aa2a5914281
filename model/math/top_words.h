// The likeliest words of distributions over a vocabulary: what is worth keeping of a teacher's
// answers. Thread-safe (pure functions).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "model/math/head.h"

namespace puzzle {

/// A distribution for every token: some words by themselves, and all others as one. The
/// probabilities of a token and its rest add up to 1.
struct TopWords {
  at::Tensor ids;              // [tokens, k], int64; no word twice
  at::Tensor log_probability;  // [tokens, k], fp32
  at::Tensor log_rest;         // [tokens], fp32: of all other words together, -infinity for none

  /// Tokens first .. first + count.
  [[nodiscard]] TopWords Narrow(int64_t first, int64_t count) const;
  [[nodiscard]] TopWords To(const at::Device& device) const;
};

/// The `k` likeliest words of `head`, the likeliest first, and of equals the first. On the host;
/// logits exist for a tile at a time. Probabilities are finite where all logits of a token are, and
/// NaN where one of them is. REQUIRES: 1 <= k <= the vocabulary.
[[nodiscard]] TopWords TopWordsOf(const HeadInput& head, int64_t k);

}  // namespace puzzle
