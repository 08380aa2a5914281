// Reading a part of a file without holding it whole.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "io/file.h"

namespace puzzle {

/// Bytes that readers of tensors hold at once.
inline constexpr size_t kFilePieceBytes = 4 << 20;

/// Calls `use(pointer, bytes)` for bytes [first, first + bytes) of `file`, piece by piece; all but
/// the last are the largest multiple of `unit` that kFilePieceBytes holds. The pointer is aligned
/// for every type. Throws Error when the file is shorter. REQUIRES: unit <= kFilePieceBytes.
template <typename Use>
void ForEachPiece(const InputFile& file, uint64_t first, uint64_t bytes, size_t unit, Use use) {
  std::vector<unsigned char> piece(std::min<uint64_t>(kFilePieceBytes / unit * unit, bytes));
  for (uint64_t done = 0; done < bytes;) {
    const size_t count = std::min<uint64_t>(piece.size(), bytes - done);
    file.ReadAt(first + done, piece.data(), count);
    use(piece.data(), count);
    done += count;
  }
}

}  // namespace puzzle
