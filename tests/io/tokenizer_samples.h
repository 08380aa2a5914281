// Tokenizers and text on which ours and the reference (Hugging Face's `tokenizers`) are compared.
// reference_ids.py reads what write_tokenizer_samples writes and prints the digests that
// bpe_reference_test.cpp holds.
#pragma once

#include <string>
#include <vector>

namespace puzzle {

/// A tokenizer.json, made from the vocabularies of the shared test data.
struct TokenizerSample {
  std::string name;
  std::string json;
};

/// "gpt2", "llama3", "qwen2" (GPT-2's vocabulary under Qwen's rules), "llama2" (SentencePiece as
/// tokenizer.json says it), "smollm" (GPT-2's vocabulary, digits apart, a space before the text).
[[nodiscard]] std::vector<TokenizerSample> TokenizerSamples();

/// Words, numbers, code, white space of many kinds, characters of many scripts, composed and not,
/// special tokens: always the same `bytes` (roughly) of valid UTF-8.
[[nodiscard]] std::string MixedText(size_t bytes);

}  // namespace puzzle
