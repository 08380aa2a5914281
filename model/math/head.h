// The head of a language model, a product of tokens x words, in tiles: logits exist for some tokens
// and some words at a time and are summed up on the way (log-sum-exp, ranks, KL), so that neither
// memory nor the cost per word depends on the vocabulary. losses.h makes figures of it. Thread-safe
// (pure functions).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

namespace puzzle {

/// A head and what it reads: logits are hidden * matrix^T.
struct HeadInput {
  at::Tensor hidden;  // [tokens, hidden], behind the final norm
  at::Tensor matrix;  // [vocab, hidden]
  /// kBFloat16: both are rounded to it for the products, which are still summed up in fp32.
  at::ScalarType products = at::kFloat;
  /// The matrix as the products of losses see it; undefined: each makes it.
  at::Tensor rounded = {};
};

/// `x` as the products of `products` see it, in fp32: rounded, or as it is.
[[nodiscard]] at::Tensor AsMultiplied(const at::Tensor& x, at::ScalarType products);

/// What the logits of every token add up to. [tokens], fp64.
struct HeadSums {
  at::Tensor log_sum;  // log sum_v exp(logit_v)
  at::Tensor kl;       // KL(parent || head), where there is a parent; else undefined
  at::Tensor target;   // the target's logit, where there are targets; else undefined
  at::Tensor above;    // how many other words' logits are not below it, or NaN (int64)
};

/// Of `head`; `targets` [tokens] (int64) may be undefined, `parent` null. KL = sum_v p_parent (log
/// p_parent - log p_head), full vocabulary, T = 1. REQUIRES: no gradients are asked for.
[[nodiscard]] HeadSums SumHead(const HeadInput& head, const at::Tensor& targets,
                               const HeadInput* parent);

/// The same of logits [rows, vocab] that are there as a whole. [rows], fp64
[[nodiscard]] at::Tensor RowLogSums(const at::Tensor& logits);
struct RowComparison {
  at::Tensor parent_log_sum, child_log_sum;
  at::Tensor kl;
};
[[nodiscard]] RowComparison CompareRows(const at::Tensor& parent, const at::Tensor& child);

/// Some tokens' logits of some words.
struct HeadTile {
  int64_t first_token = 0, tokens = 0;
  int64_t first_word = 0, words = 0;
  at::Tensor logits;  // [tokens, words]; the visitor may overwrite them
};
/// Calls `visit` for every tile, words in the outer loop.
void ForEachTile(const HeadInput& head, const std::function<void(const HeadTile&)>& visit);

}  // namespace puzzle
