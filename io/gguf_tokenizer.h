// The tokenizer inside of a GGUF file as the files that a Hugging Face folder has, and back.
// Thread-safe.
#pragma once

#include <map>
#include <string>

#include "io/gguf.h"
#include "io/gguf_write.h"

namespace puzzle {

/// File name -> bytes, for MakeTokenizer and for exports: `tokenizer.json` (byte-level BPE,
/// `tokenizer.ggml.model` "gpt2") or `tokenizer.model` (SentencePiece: BPE as "llama", unigram as
/// "t5"), with a `tokenizer_config.json` that holds BOS, EOS and the chat template. Empty when the
/// file has none.
/// Throws Error naming file and key for other models, pre-tokenizers that are not known, and lists
/// that do not fit together.
[[nodiscard]] std::map<std::string, std::string> TokenizerFilesFromGguf(const GgufReader& reader);

/// The keys `tokenizer.*` for the files of a folder, special tokens and chat template included, for
/// a model with `vocab_size` rows of its embedding; model "none" where `files` make no tokenizer.
/// Byte-level BPE (a tokenizer.json whose rules have a name in GGUF), SentencePiece BPE, and our
/// byte tokenizer, which becomes a BPE without merges whose BOS and EOS have texts of their own.
/// Throws Error saying what of the tokenizer GGUF has no word for.
[[nodiscard]] GgufMetadata TokenizerToGguf(const std::map<std::string, std::string>& files,
                                           int64_t vocab_size);

/// What llama.cpp does otherwise than the tokenizer, although GGUF says all that it can; "" when
/// nothing is known.
[[nodiscard]] std::string WhatGgufTokenizerLoses(const std::map<std::string, std::string>& files);

}  // namespace puzzle
