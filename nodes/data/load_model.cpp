#include "nodes/data/load_model.h"

#include <fmt/format.h>

#include <filesystem>

#include "io/file.h"
#include "io/tokenizer.h"
#include "model/files/checkpoint_config.h"
#include "model/files/open_checkpoint.h"
#include "nodes/data/file_weights.h"

namespace puzzle {

namespace {
constexpr uint64_t kMaxGenerationConfigBytes = 1 << 20;
}  // namespace

Checkpoint ReadCheckpoint(const std::string& path,
                          const std::function<void(const std::string&)>& warn) {
  Checkpoint checkpoint;
  checkpoint.model = OpenCheckpoint(path);
  const std::filesystem::path generation = std::filesystem::path(path) / kGenerationConfigName;
  if (std::filesystem::exists(generation))
    checkpoint.generation_config = ReadWholeFile(generation.string(), kMaxGenerationConfigBytes);
  if (const auto tokenizer = FindTokenizer(path)) {
    if (tokenizer->vocab_size() > checkpoint.model.config.vocab_size)
      warn(
          fmt::format("{}: the tokenizer has {} ids, the model a vocabulary of {}; text "
                      "with the others is refused",
                      path, tokenizer->vocab_size(), checkpoint.model.config.vocab_size));
    checkpoint.tokenizer_files = tokenizer->files();
  } else {
    warn(path + ": no tokenizer; only token files can be used with this model");
  }
  return checkpoint;
}

Checkpoint RunLoadModel(const LoadModelParams& params, const Inputs&, RunContext& context) {
  Checkpoint checkpoint =
      ReadCheckpoint(params.path, [&](const std::string& message) { context.Warn(message); });
  // All is read once: for the digests, and so that what is wrong with it is said here.
  checkpoint.model = Digested(std::move(checkpoint.model), params.path,
                              [&](double done) { context.Poll(done, "reading"); });
  return checkpoint;
}

}  // namespace puzzle
