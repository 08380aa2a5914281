// Losses and metrics over a vocabulary, computed in tiles or chunks so that tokens x vocabulary is
// never held (head.h), and the regression loss of blockwise distillation. Thread-safe (pure
// functions).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "model/math/head.h"
#include "model/math/top_words.h"
#include "model/shape/metrics.h"

namespace puzzle {

/// The states of [batch, seq, hidden] that predict a next token, flattened: every position but the
/// last of each sequence.
[[nodiscard]] at::Tensor PredictingStates(const at::Tensor& hidden);
/// What they predict: ids [batch, seq] -> [batch * (seq - 1)].
[[nodiscard]] at::Tensor NextTokens(const at::Tensor& ids);

/// The figures of some tokens, for comparisons token by token.
struct TokenFigures {
  at::Tensor rows;  // [kTokenRows, tokens], fp64

  [[nodiscard]] TokenMetrics Sum() const;
  /// What `other`, of the same tokens and the same parent, has more of: its means are differences
  /// of means, and its errors are those of paired differences.
  [[nodiscard]] TokenFigures IncreaseTo(const TokenFigures& other) const;
};

/// Figures of a child against targets [tokens] (int64) and, unless `parent` is null, against the
/// parent's distribution: KL = sum_v p_parent (log p_parent - log p_child), full vocabulary, T = 1.
/// Where one head has more rows than the other, KL is that of the distributions over the common
/// ones, the first. Top-k counts a target when fewer than k other logits are as large as its own;
/// NaN is as large as anything.
[[nodiscard]] TokenFigures Measure(const HeadInput& child, const at::Tensor& targets,
                                   const HeadInput* parent);

/// What a model holds of given next tokens.
struct Likelihood {
  at::Tensor log_probability;  // [tokens], fp64
  at::Tensor greedy;           // [tokens], bool: no other word is as likely
};
/// Of `targets` [tokens] (int64) behind the states of `head`. For tasks: of a batch's states take
/// the rows that predict a judged token (index_select) and nothing else is computed.
[[nodiscard]] Likelihood LikelihoodOf(const HeadInput& head, const at::Tensor& targets);

/// What is left of a parent's distributions p when many children with one head matrix W are
/// measured against them, a few numbers per token instead of a vocabulary: KL = sum_v p_v log p_v -
/// child_hidden . (W^T p) + log sum_v exp(W child_hidden)_v.
struct FoldedParent {
  at::Tensor hidden;                     // [tokens, hidden], of the parent
  at::Tensor expected_row;               // [tokens, hidden]: W^T p, the mean row of the head matrix
  at::Tensor negentropy;                 // [tokens], fp64: sum_v p_v log p_v
  at::ScalarType products = at::kFloat;  // of the children's heads

  /// Tokens first .. first + count.
  [[nodiscard]] FoldedParent Narrow(int64_t first, int64_t count) const;
};

/// Folds `parent` for children whose head matrix is `matrix` and whose products are in the parent's
/// type.
[[nodiscard]] FoldedParent FoldParent(const HeadInput& parent, const at::Tensor& matrix);

/// As above, for half the work or less. REQUIRES: `parent` was folded for child.matrix and
/// child.products.
[[nodiscard]] TokenFigures Measure(const HeadInput& child, const at::Tensor& targets,
                                   const FoldedParent& parent);

/// Mean cross entropy; differentiable in hidden and matrix. The gradient is computed on the way
/// forward, in chunks of tokens whose logits take 32 MiB: tiles would have to be computed twice.
/// With products in bf16 the gradients of logits are rounded to it as well; sums stay fp32.
[[nodiscard]] at::Tensor CrossEntropyLoss(const HeadInput& head, const at::Tensor& targets);
/// Mean KL(teacher || student); differentiable in the student's hidden and matrix.
[[nodiscard]] at::Tensor KlLoss(const HeadInput& student, const HeadInput& teacher);
/// The same of what is kept of a teacher, by the words S of each token and the rest r of them as
/// one word: mean of sum_{v in S} p_v (log p_v - log q_v) + p_r (log p_r - log q_r), the student's
/// q_r being that of its words outside of S. At most the whole KL, since taking words together only
/// loses what tells the two apart (the data-processing inequality; what is lost is p_r times the KL
/// within the rest), and equal to it where S is the vocabulary. The gradient by a logit z_v is q_v
/// - p_v in S, and outside (q_r - p_r) exp(z_v) / sum_{w outside} exp(z_w): the rest is moved as
/// one, and its words keep their proportions. T = 1: how a softer teacher would share out its
/// probability between S and the rest p_r does not tell.
[[nodiscard]] at::Tensor CoarseKlLoss(const HeadInput& student, const TopWords& teacher);
/// Mean over tokens of 1 - cos(student, teacher). Inputs [..., hidden].
[[nodiscard]] at::Tensor CosineLoss(const at::Tensor& student, const at::Tensor& teacher);

/// sum_t weight_t |output_t - target_t|^2 over tokens t; differentiable in the output. output,
/// target [..., hidden]; weight [..., 1] or [1]. With weight 1 / sum_t |target_t|^2 it is
/// MSE(target, output) / MSE(target, 0): 1 for a sub-block that adds nothing (paper section 3).
[[nodiscard]] at::Tensor WeightedSquaredError(const at::Tensor& output, const at::Tensor& target,
                                              const at::Tensor& weight);

}  // namespace puzzle
