// The alphabet in which byte-level tokenizers write bytes: printable Latin-1 characters stand for
// themselves, the other 68 bytes for U+0100 onwards. Thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace puzzle {

/// The bytes that `text` stands for; nullopt when a character is none of the alphabet.
[[nodiscard]] std::optional<std::string> BytesFromAlphabet(std::string_view text);
/// The character that a byte is written as.
[[nodiscard]] std::string LetterOfByte(unsigned char byte);

}  // namespace puzzle
