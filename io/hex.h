// Bytes as lower-case hex digits and back. Thread-safe (pure functions).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace puzzle {

/// Writes two digits per byte. REQUIRES: `out` has room for them.
void WriteHex(std::span<const uint8_t> bytes, char* out);
/// False for text of another length than two digits per byte, or with other characters; then what
/// `bytes` hold means nothing.
[[nodiscard]] bool ReadHex(std::string_view hex, std::span<uint8_t> bytes);

}  // namespace puzzle
