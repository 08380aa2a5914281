#include "model/files/matrix_rows.h"

#include <algorithm>

#include "model/pch.h"
#include "model/unread.h"

namespace puzzle {

bool CopyStoredRows(const at::Tensor& matrix, int64_t first, int64_t count, DType type, void* out) {
  const auto source = SourceOf(matrix);
  const TensorSource::Rows* const rows = source != nullptr ? source->rows() : nullptr;
  return rows != nullptr && rows->ReadStored(first, count, type, out);
}

void CopyRows(const at::Tensor& matrix, int64_t first, int64_t count, float* out) {
  const auto source = SourceOf(matrix);
  if (const TensorSource::Rows* const rows = source != nullptr ? source->rows() : nullptr)
    return rows->ReadRows(first, {out, static_cast<size_t>(count * matrix.size(1))});
  const at::Tensor values =
      RowsInMemory(matrix, first, count).detach().to(at::kCPU, at::kFloat).contiguous();
  std::copy_n(values.data_ptr<float>(), values.numel(), out);
}

}  // namespace puzzle
