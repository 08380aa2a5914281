// Tokens for models of tests/model/tiny_model.h.
#pragma once

#include <cstdint>

#include "nodes/data/artifacts.h"

namespace puzzle {

/// Ids without a pattern that a model would know; no tokenizer, no mask.
inline TokenSet TinyTokens(int64_t sequences, int64_t length = 16, int64_t vocab_size = 40) {
  TokenSet tokens;
  tokens.length = length;
  tokens.vocab_size = vocab_size;
  for (int64_t i = 0; i < sequences * length; ++i)
    tokens.ids.push_back(static_cast<int32_t>((i * i + 7 * i / 3) % vocab_size));
  return tokens;
}

}  // namespace puzzle
