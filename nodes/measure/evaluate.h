// `evaluate`: quality of a model on held-out text, alone or against its parent.
#pragma once

#include "graph/kind/kind.h"
#include "io/tokenizer.h"
#include "model/transformer.h"
#include "nodes/data/artifacts.h"
#include "nodes/measure/artifacts.h"
#include "nodes/measure/kinds.h"
#include "nodes/measure/text_quality.h"

namespace puzzle {

/// Continues `prompt` by `count` tokens; the text without the prompt, U+FFFD in place of bytes that
/// are no UTF-8. Ids that only the model has are no text.
[[nodiscard]] std::string SampleText(const Transformer& model, const Tokenizer& tokenizer,
                                     const std::string& prompt, int64_t count,
                                     const Sampling& sampling = {});

[[nodiscard]] Evaluation RunEvaluate(const EvaluateParams& params, const Inputs& inputs,
                                     RunContext& context);

}  // namespace puzzle
