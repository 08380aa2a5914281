#include "io/byte_alphabet.h"

#include <algorithm>
#include <array>

#include "io/utf8.h"

namespace puzzle {
namespace {

constexpr int kLastCode = 0x143;  // 68 codes from U+0100 on

constexpr bool StandsForItself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

/// The byte of each code point, or -1.
constexpr std::array<int, kLastCode + 1> MakeBytes() {
  std::array<int, kLastCode + 1> bytes = {};
  bytes.fill(-1);
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) bytes[StandsForItself(byte) ? byte : next++] = byte;
  return bytes;
}
constexpr std::array<int, kLastCode + 1> kBytes = MakeBytes();

}  // namespace

std::string LetterOfByte(unsigned char byte) {
  const auto code = static_cast<unsigned>(
      std::find(kBytes.begin(), kBytes.end(), static_cast<int>(byte)) - kBytes.begin());
  if (code < 0x80) return {static_cast<char>(code)};
  return {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
}

std::optional<std::string> BytesFromAlphabet(std::string_view text) {
  std::string bytes;
  while (!text.empty()) {
    const size_t length = Utf8Length(text);
    if (length == 0 || length > 2) return std::nullopt;
    const auto lead = static_cast<unsigned char>(text[0]);
    const int code = length == 1 ? lead : (lead & 0x1F) << 6 | (text[1] & 0x3F);
    if (code > kLastCode || kBytes[code] < 0) return std::nullopt;
    bytes += static_cast<char>(kBytes[code]);
    text.remove_prefix(length);
  }
  return bytes;
}

}  // namespace puzzle
