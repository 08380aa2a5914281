#include "nodes/data/load_model.h"

#include <fmt/format.h>

#include "io/error.h"
#include "io/tokenizer.h"
#include "model/files/checkpoint.h"

namespace puzzle {

Checkpoint RunLoadModel(const LoadModelParams& params, const Inputs&, RunContext& context) {
  Checkpoint checkpoint;
  checkpoint.model = LoadCheckpoint(params.path);
  if (const auto tokenizer = FindTokenizer(params.path)) {
    if (tokenizer->vocab_size() > checkpoint.model.config.vocab_size)
      throw Error(fmt::format("{}: the tokenizer has {} ids, the model a vocabulary of {}",
                              params.path, tokenizer->vocab_size(),
                              checkpoint.model.config.vocab_size));
    checkpoint.tokenizer_files = tokenizer->files();
  } else {
    context.Warn(params.path + ": no tokenizer; only token files can be used with this model");
  }
  return checkpoint;
}

}  // namespace puzzle
