// `tokenize`: text becomes equal sequences of token ids.
#pragma once

#include <string_view>

#include "graph/kind/kind.h"
#include "io/tokenizer.h"
#include "nodes/data/artifacts.h"
#include "nodes/data/kinds.h"

namespace puzzle {

/// How documents become sequences.
struct PackOptions {
  std::string separator = "<|endoftext|>";
  int64_t length = 512;
  int64_t sequences = 0;        // 0: all
  bool from_end = false;        // the last sequences instead of the first
  bool short_is_whole = false;  // a text shorter than `length` is one shorter sequence
};

/// Splits `text` at the separator, strips each document, puts before it what the tokenizer puts
/// before every text, or, where that is nothing, EOS between documents, concatenates, and cuts into
/// sequences of `length`; a shorter rest is dropped. Throws Error when the text holds fewer
/// sequences than asked for, or none.
[[nodiscard]] TokenSet PackTokens(std::string_view text, const Tokenizer& tokenizer,
                                  const PackOptions& options);

/// Throws Error when the tokenizers of a model and its parent give the same ids other meanings; by
/// files as checkpoints bring them, of which none is no objection.
void CheckSameLanguage(const std::map<std::string, std::string>& model,
                       const std::map<std::string, std::string>& parent);

[[nodiscard]] TokenSet RunTokenize(const TokenizeParams& params, const Inputs& inputs,
                                   RunContext& context);

}  // namespace puzzle
