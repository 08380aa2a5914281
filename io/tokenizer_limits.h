// What all tokenizers agree on: how large somebody else's ids and tokens may be, and their mark for
// a blank.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace puzzle {

/// The largest id a token may have: ids index tables.
inline constexpr int32_t kMaxTokenId = 1 << 21;
inline constexpr size_t kMaxTokenBytes = 64 << 10;
/// Stands for a blank in SentencePiece's tokens (U+2581).
inline constexpr std::string_view kMetaspace = "\xE2\x96\x81";

}  // namespace puzzle
