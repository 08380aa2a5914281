#include "io/hex.h"

#include <array>
#include <cstddef>

namespace puzzle {

void WriteHex(std::span<const uint8_t> bytes, char* out) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  for (size_t i = 0; i < bytes.size(); ++i) {
    out[2 * i] = kDigits[bytes[i] >> 4];
    out[2 * i + 1] = kDigits[bytes[i] & 15];
  }
}

bool ReadHex(std::string_view hex, std::span<uint8_t> bytes) {
  static constexpr uint8_t kNone = 0xFF;
  static constexpr auto kDigits = [] {
    std::array<uint8_t, 256> digits{};
    digits.fill(kNone);
    for (uint8_t i = 0; i < 16; ++i) digits[static_cast<uint8_t>("0123456789abcdef"[i])] = i;
    return digits;
  }();
  if (hex.size() != 2 * bytes.size()) return false;
  bool good = true;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const uint8_t high = kDigits[static_cast<uint8_t>(hex[2 * i])];
    const uint8_t low = kDigits[static_cast<uint8_t>(hex[2 * i + 1])];
    good = good && high != kNone && low != kNone;
    bytes[i] = static_cast<uint8_t>(high << 4 | (low & 15));
  }
  return good;
}

}  // namespace puzzle
