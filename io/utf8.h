// UTF-8, strictly. Thread-safe.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace puzzle {

/// Whether a byte is the second or a later one of a character.
[[nodiscard]] inline bool IsUtf8Continuation(char c) {
  return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}

/// Bytes of the character at the start of `text`; 0 when `text` is empty or the character is
/// malformed: too long a form, a surrogate, beyond U+10FFFF, or cut.
[[nodiscard]] inline size_t Utf8Length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  if (text.empty()) return 0;
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if (!IsUtf8Continuation(text[i])) return 0;
  }
  const bool wrong_range = (lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xED && byte(1) > 0x9F) ||
                           (lead == 0xF0 && byte(1) < 0x90) || (lead == 0xF4 && byte(1) > 0x8F);
  return wrong_range ? 0 : length;
}

/// Bytes that one replacement character stands for where `text` begins with a malformed character:
/// those that could have begun a well-formed one, at least one. REQUIRES: Utf8Length(text) is 0 and
/// `text` is not empty.
[[nodiscard]] inline size_t MalformedUtf8Length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0xE0 || lead > 0xF4 || text.size() < 2) return 1;
  const unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (byte(1) < low || byte(1) > high) return 1;
  const bool has_third = lead >= 0xF0 && text.size() > 2 && IsUtf8Continuation(text[2]);
  return has_third ? 3 : 2;
}

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

/// `text` with U+FFFD for what is malformed, as Python's `decode(errors="replace")` has it.
[[nodiscard]] inline std::string RepairUtf8(std::string_view text) {
  std::string repaired;
  repaired.reserve(text.size());
  while (!text.empty()) {
    const size_t length = Utf8Length(text);
    repaired += length == 0 ? kReplacementCharacter : text.substr(0, length);
    text.remove_prefix(length == 0 ? MalformedUtf8Length(text) : length);
  }
  return repaired;
}

/// Whether all of `text` is well-formed.
[[nodiscard]] inline bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = Utf8Length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

}  // namespace puzzle
