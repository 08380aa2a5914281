// `synthetic_text`: generated stories, for graphs that need no file (nodes/data/story_corpus.h).
#pragma once

#include "graph/kind/node.h"
#include "nodes/artifacts.h"
#include "nodes/params.h"

namespace puzzle {

[[nodiscard]] TextArtifact RunSyntheticText(const SyntheticTextParams& params, const Inputs& inputs,
                                            RunContext& context);

}  // namespace puzzle
