#include "nodes/data/load_model.h"

#include <fmt/format.h>

#include <filesystem>

#include "io/file.h"
#include "io/tokenizer.h"
#include "model/files/checkpoint.h"
#include "model/files/checkpoint_config.h"

namespace puzzle {

namespace {
constexpr uint64_t kMaxGenerationConfigBytes = 1 << 20;
}  // namespace

Checkpoint RunLoadModel(const LoadModelParams& params, const Inputs&, RunContext& context) {
  Checkpoint checkpoint;
  checkpoint.model = LoadCheckpoint(params.path);
  const std::filesystem::path generation =
      std::filesystem::path(params.path) / kGenerationConfigName;
  if (std::filesystem::exists(generation))
    checkpoint.generation_config = ReadWholeFile(generation.string(), kMaxGenerationConfigBytes);
  if (const auto tokenizer = FindTokenizer(params.path)) {
    if (tokenizer->vocab_size() > checkpoint.model.config.vocab_size)
      context.Warn(
          fmt::format("{}: the tokenizer has {} ids, the model a vocabulary of {}; text "
                      "with the others is refused",
                      params.path, tokenizer->vocab_size(), checkpoint.model.config.vocab_size));
    checkpoint.tokenizer_files = tokenizer->files();
  } else {
    context.Warn(params.path + ": no tokenizer; only token files can be used with this model");
  }
  return checkpoint;
}

}  // namespace puzzle
