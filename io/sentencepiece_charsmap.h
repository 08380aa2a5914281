// Character maps inside SentencePiece models, which libsentencepiece follows unchecked.
// Thread-safe.
#pragma once

#include <string_view>

namespace puzzle {

/// Throws Error when a character map (normalisation rules compiled into a trie) in the bytes of a
/// `tokenizer.model` points outside of itself. Models without one pass.
void CheckCharacterMaps(std::string_view model_bytes);

}  // namespace puzzle
