// The one way that values of tensors get into files: some rows at a time, fetched and converted
// while those before them are written. Thread-safe (pure, but for what it is given).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "io/array.h"
#include "io/safetensors.h"
#include "io/write_behind.h"

namespace puzzle {

/// How a file holds values.
struct StoredForm {
  std::optional<DType> array_type;  // whose elements these are, if any's
  size_t block_elements = 1;        // rows are whole blocks
  size_t block_bytes = 0;
  /// Puts values, of whole rows, to `out` as the file holds them; `first` is the element of the
  /// tensor with which they begin. Throws Error for what the file cannot hold.
  std::function<void(std::span<const float> values, int64_t first, unsigned char* out)> convert;
};

/// Fetches all rows of a tensor of this shape and puts them into `out`: without a conversion where
/// `rows` has them at hand as the file will. About 2 MiB are held beside what those two hold, or
/// one row. Throws Error as they do.
void AppendRows(RowsToWrite& rows, const Shape& shape, const StoredForm& form, WriteBehind& out);

}  // namespace puzzle
