// `tokenize`: text becomes equal sequences of token ids.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "graph/kind/kind.h"
#include "io/tokenizer.h"
#include "nodes/data/artifacts.h"
#include "nodes/data/documents.h"
#include "nodes/data/kinds.h"

namespace puzzle {

/// How documents become sequences.
struct PackOptions {
  std::string separator = "<|endoftext|>";
  int64_t length = 512;
  int64_t sequences = 0;        // 0: all
  bool from_end = false;        // the last sequences instead of the first
  bool short_is_whole = false;  // a text shorter than `length` is one shorter sequence
  std::string checkpoint = {};  // that brought the tokenizer, for messages; may be empty
};

/// Puts before each document what the tokenizer puts before every text, or, where that is nothing,
/// the separator between texts, if it is one of its special tokens, else EOS, or a blank line when
/// it has neither; conversations are written as the tokenizer's chat template says, and only their
/// answers are in the mask. Concatenates, and cuts into sequences of `length`; a shorter rest is
/// dropped. Documents are encoded by several threads, a few at a time; the ids do not depend on
/// that. `poll` is called with the fraction that is done. Throws Error when there are fewer
/// sequences than asked for, or none, and for conversations that the template cannot say, with
/// their place.
[[nodiscard]] TokenSet PackDocuments(DocumentReader& documents, const Tokenizer& tokenizer,
                                     const PackOptions& options,
                                     const std::function<void(double)>& poll);
/// Of a text whose documents stand between separators.
[[nodiscard]] TokenSet PackTokens(std::string_view text, const Tokenizer& tokenizer,
                                  const PackOptions& options);

/// Throws Error when the tokenizers of a model and its parent give the same ids other meanings; by
/// files as checkpoints bring them, of which none is no objection.
void CheckSameLanguage(const std::map<std::string, std::string>& model,
                       const std::map<std::string, std::string>& parent);

[[nodiscard]] TokenSet RunTokenize(const TokenizeParams& params, const Inputs& inputs,
                                   RunContext& context);

}  // namespace puzzle
