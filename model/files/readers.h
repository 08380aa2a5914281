// Which programs load what was exported, and why others will not: their rules in one place. What is
// said was read in their sources or tried; model/README.md says which. Torch-free; thread-safe
// (pure functions).
#pragma once

#include <string>
#include <vector>

#include "model/shape/config.h"

namespace puzzle {

struct ReaderVerdict {
  std::string reader;  // "vLLM"
  bool loads = false;
  std::string note;  // what it needs, or what is in the way; may be empty
};

/// Of a Hugging Face folder that SaveCheckpoint writes.
[[nodiscard]] std::vector<ReaderVerdict> ReadersOfFolder(const ModelConfig& config);
/// Of such a folder with the config.json of AnyModelJson.
[[nodiscard]] std::vector<ReaderVerdict> ReadersOfAnyModel();
/// Of a file that SaveGguf writes.
[[nodiscard]] std::vector<ReaderVerdict> ReadersOfGguf(const ModelConfig& config);

}  // namespace puzzle
