// Reading a part of a file without holding it whole.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "io/file.h"

namespace puzzle {

/// Bytes that readers of tensors hold at once: what stays in a core's own cache until it was looked
/// at.
inline constexpr size_t kFilePieceBytes = 512 << 10;

/// Calls `use(pointer, bytes)` for bytes [first, first + bytes) of `file`, piece by piece; all but
/// the last are the largest multiple of `unit` that kFilePieceBytes holds. The pointer is aligned
/// for every type. Throws Error when the file is shorter. REQUIRES: unit <= kFilePieceBytes.
template <typename Use>
void ForEachPiece(const InputFile& file, uint64_t first, uint64_t bytes, size_t unit, Use use) {
  const size_t room = std::min<uint64_t>(kFilePieceBytes / unit * unit, bytes);
  const auto piece = std::make_unique_for_overwrite<unsigned char[]>(room);
  for (uint64_t done = 0; done < bytes;) {
    const size_t count = std::min<uint64_t>(room, bytes - done);
    file.ReadAt(first + done, piece.get(), count);
    use(static_cast<const unsigned char*>(piece.get()), count);
    done += count;
  }
}

}  // namespace puzzle
