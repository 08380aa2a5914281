// `synthetic_text`: generated stories, for graphs that need no file (nodes/data/story_corpus.h).
#pragma once

#include "graph/kind/kind.h"
#include "nodes/data/artifacts.h"
#include "nodes/data/kinds.h"

namespace puzzle {

[[nodiscard]] TextArtifact RunSyntheticText(const SyntheticTextParams& params, const Inputs& inputs,
                                            RunContext& context);

}  // namespace puzzle
