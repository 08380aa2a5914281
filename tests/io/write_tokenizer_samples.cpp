// Writes mixed.txt and the tokenizers of tokenizer_samples.h into a folder, for reference_ids.py.
#include <cstdio>
#include <exception>

#include "tests/io/bpe_reference.h"
#include "tests/io/test_files.h"
#include "tests/io/tokenizer_samples.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
    return 2;
  }
  try {
    const std::string folder = std::string(argv[1]) + "/";
    puzzle::WriteBytes(folder + "mixed.txt", puzzle::MixedText(puzzle::kMixedBytes));
    for (const auto& [name, json] : puzzle::TokenizerSamples()) {
      puzzle::WriteBytes(folder + name + ".json", json);
    }
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
  return 0;
}
