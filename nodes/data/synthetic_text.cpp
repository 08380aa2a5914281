#include "nodes/data/synthetic_text.h"

#include "nodes/data/story_corpus.h"

namespace puzzle {

TextArtifact RunSyntheticText(const SyntheticTextParams& params, const Inputs&, RunContext&) {
  return {GenerateStories({params.stories, static_cast<uint64_t>(params.seed)})};
}

}  // namespace puzzle
