#include "io/printable.h"

#include <fmt/format.h>

#include <cstdint>

#include "io/utf8.h"

namespace puzzle {
namespace {

/// REQUIRES: `text` is one well-formed character.
uint32_t CodePoint(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  if (text.size() == 1) return lead;
  uint32_t code = lead & (0x7Fu >> text.size());
  for (const char c : text.substr(1)) code = code << 6 | (static_cast<unsigned char>(c) & 0x3Fu);
  return code;
}

bool IsHarmful(uint32_t code, bool keep_lines) {
  if (code == '\n' || code == '\t') return !keep_lines;
  return code < 0x20 || (code >= 0x7F && code < 0xA0) ||  // C0, DEL, C1
         (code >= 0x202A && code <= 0x202E) ||            // embeddings and overrides
         (code >= 0x2066 && code <= 0x2069) ||            // isolates
         code == 0x2028 || code == 0x2029;                // separators of lines and paragraphs
}

std::string Escaped(std::string_view text, bool keep_lines) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const size_t length = Utf8Length(text);
    if (length == 0) {
      result += kReplacementCharacter;
      text.remove_prefix(MalformedUtf8Length(text));
      continue;
    }
    const std::string_view character = text.substr(0, length);
    if (const uint32_t code = CodePoint(character); IsHarmful(code, keep_lines)) {
      result += fmt::format("\\u{:04x}", code);
    } else {
      result += character;
    }
    text.remove_prefix(length);
  }
  return result;
}

}  // namespace

std::string Printable(std::string_view text) {
  return Escaped(text, /*keep_lines=*/true);
}

std::string PrintableLine(std::string_view text) {
  return Escaped(text, /*keep_lines=*/false);
}

}  // namespace puzzle
