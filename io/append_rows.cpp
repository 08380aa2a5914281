#include "io/append_rows.h"

#include <algorithm>
#include <vector>

namespace puzzle {
namespace {

constexpr int64_t kRowElements = 1 << 18;

}  // namespace

void AppendRows(RowsToWrite& rows, const Shape& shape, const StoredForm& form, WriteBehind& out) {
  const int64_t elements = NumElements(shape);
  if (elements == 0) return;
  const int64_t all_rows = shape.empty() ? 1 : shape.front();
  const int64_t columns = elements / all_rows;
  const int64_t piece_rows = std::max<int64_t>(1, kRowElements / columns);
  std::vector<float> values;
  for (int64_t row = 0; row < all_rows; row += piece_rows) {
    const int64_t count = std::min(piece_rows, all_rows - row);
    const auto numbers = static_cast<size_t>(count * columns);
    const size_t bytes = numbers / form.block_elements * form.block_bytes;
    unsigned char* const to = out.Room(bytes);
    if (!form.array_type || !rows.ReadStored(row, count, *form.array_type, to)) {
      values.resize(numbers);
      rows.ReadValues(row, count, values.data());
      form.convert(values, row * columns, to);
    }
    out.Took(bytes);
  }
}

}  // namespace puzzle
