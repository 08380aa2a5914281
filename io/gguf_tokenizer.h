// The tokenizer inside of a GGUF file as the files that a Hugging Face folder has. Thread-safe.
#pragma once

#include <map>
#include <string>

#include "io/gguf.h"

namespace puzzle {

/// File name -> bytes, for MakeTokenizer and for exports: `tokenizer.json` (byte-level BPE,
/// `tokenizer.ggml.model` "gpt2") or `tokenizer.model` (SentencePiece, "llama"), with a
/// `tokenizer_config.json` that holds BOS, EOS and the chat template. Empty when the file has none.
/// Throws Error naming file and key for other models, pre-tokenizers that are not known, and lists
/// that do not fit together.
[[nodiscard]] std::map<std::string, std::string> TokenizerFilesFromGguf(const GgufReader& reader);

}  // namespace puzzle
