// How well a model predicts held-out text, alone or against its parent. Thread-safe (pure
// functions); `poll` is called by the calling thread.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

#include "model/shape/metrics.h"
#include "model/transformer.h"
#include "nodes/data/artifacts.h"
#include "nodes/states/file_tensor.h"

namespace puzzle {

/// Throws Error, saying what differs, unless a model can be measured against a parent on `tokens`:
/// both take them, final states have one width, and vocabularies differ in padding only.
void CheckComparable(const ModelConfig& model, const ModelConfig& parent, const TokenSet& tokens);

/// Metrics over the first `positions` predictions (0: all) of `tokens`; the context is reset for
/// every sequence. With a parent also what compares with it. Never holds tokens x vocabulary. With
/// `answers_only` the predictions are those of tokens in the mask. Products are taken in the type
/// of a model's matrices. A model whose blocks are not in memory (ForWalk of nodes/states/walk.h)
/// is walked through, its states in `room`, with the same results. Throws Error when the tokens do
/// not fit one of the models, and when answers are wanted that are not there.
[[nodiscard]] TokenMetrics EvaluateModel(const Transformer& model, const Transformer* parent,
                                         const TokenSet& tokens, int64_t positions, int64_t batch,
                                         const std::function<void(double)>& poll,
                                         bool answers_only = false, const DataRoom& room = {});

/// What children are compared with: a parent's states behind its final norm where some predictions
/// are made, computed once for all children.
struct FinalStates {
  ModelConfig config;
  at::Tensor hidden;  // [predictions, hidden]
  at::Tensor head;    // [vocab, hidden]
};

/// Of the same predictions, in the same order, as EvaluateModel with these arguments measures.
/// Throws Error as it does, and when a state is not finite.
[[nodiscard]] FinalStates ComputeFinalStates(const Transformer& parent, const TokenSet& tokens,
                                             int64_t positions, int64_t batch,
                                             const std::function<void(double)>& poll,
                                             bool answers_only = false, const DataRoom& room = {});

/// EvaluateModel with the parent behind those states: the same bits. REQUIRES: `parent` was
/// computed with the same tokens, positions and `answers_only`.
[[nodiscard]] TokenMetrics EvaluateModel(const Transformer& model, const FinalStates& parent,
                                         const TokenSet& tokens, int64_t positions, int64_t batch,
                                         const std::function<void(double)>& poll,
                                         bool answers_only = false, const DataRoom& room = {});

}  // namespace puzzle
