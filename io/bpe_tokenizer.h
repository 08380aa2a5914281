// The tokenizers of tokenizer.json and of vocab.json with merges.txt, behind io/tokenizer.h.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "io/added_tokens.h"
#include "io/bpe_model.h"
#include "io/pre_tokenizer.h"
#include "io/tokenizer.h"

namespace puzzle {

/// What such a tokenizer consists of.
struct BpeParts {
  BpeModel model;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  std::vector<AddedToken> added;
  std::string bos, eos;            // texts of added tokens or of the model's; empty: none
  std::string leading;             // what goes before every text; empty: nothing
  bool strips_first_space = true;  // of a decoded text; not with byte_level
};

/// Throws Error "where: ..." for added tokens without text or with more than AddedTokens::kMaxBytes
/// of it, with an id that is negative, too large or another token's, and for bos, eos and leading
/// that are no tokens.
[[nodiscard]] std::shared_ptr<const Tokenizer> MakeBpeTokenizer(
    BpeParts parts, std::map<std::string, std::string> files, const std::string& where);

/// From `tokenizer.json`. REQUIRES: it is there.
[[nodiscard]] std::shared_ptr<const Tokenizer> TokenizerFromJson(
    const std::map<std::string, std::string>& files);
/// From `vocab.json` and `merges.txt`. REQUIRES: they are there.
[[nodiscard]] std::shared_ptr<const Tokenizer> TokenizerFromVocabAndMerges(
    const std::map<std::string, std::string>& files);

}  // namespace puzzle
