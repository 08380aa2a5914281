// `evaluate`: quality of a model on held-out text, alone or against its parent.
#pragma once

#include <functional>

#include "graph/kind/kind.h"
#include "io/tokenizer.h"
#include "model/transformer.h"
#include "nodes/data/artifacts.h"
#include "nodes/measure/artifacts.h"
#include "nodes/measure/kinds.h"

namespace puzzle {

/// Throws Error, saying what differs, unless a model can be measured against a parent on `tokens`:
/// both take them, final states have one width, and vocabularies differ in padding only.
void CheckComparable(const ModelConfig& model, const ModelConfig& parent, const TokenSet& tokens);

/// Metrics over the first `positions` predictions (0: all) of `tokens`; the context is reset for
/// every sequence. With a parent also what compares with it. Never holds tokens x vocabulary. With
/// `answers_only` the predictions are those of tokens in the mask. Throws Error when the tokens do
/// not fit one of the models, and when answers are wanted that are not there.
[[nodiscard]] TokenMetrics EvaluateModel(const Transformer& model, const Transformer* parent,
                                         const TokenSet& tokens, int64_t positions, int64_t batch,
                                         const std::function<void(double)>& poll,
                                         bool answers_only = false);

/// Continues `prompt` by `count` tokens; the text without the prompt, U+FFFD in place of bytes that
/// are no UTF-8. Ids that only the model has are no text.
[[nodiscard]] std::string SampleText(const Transformer& model, const Tokenizer& tokenizer,
                                     const std::string& prompt, int64_t count,
                                     const Sampling& sampling = {});

[[nodiscard]] Evaluation RunEvaluate(const EvaluateParams& params, const Inputs& inputs,
                                     RunContext& context);

}  // namespace puzzle
