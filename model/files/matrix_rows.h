// Rows of matrices on their way into files, put where the caller has room. Thread-safe.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "io/array.h"

namespace puzzle {

/// Puts rows [first, first + count) of a matrix into `out` as elements of `type` where its source
/// (model/unread.h) has them so; else returns false. Throws Error as the source does, also for NaN
/// and infinity.
[[nodiscard]] bool CopyStoredRows(const at::Tensor& matrix, int64_t first, int64_t count,
                                  DType type, void* out);
/// Puts them into `out` in fp32. Throws Error as the source does. Of a matrix without rows
/// (HasRows) all is read each time.
void CopyRows(const at::Tensor& matrix, int64_t first, int64_t count, float* out);

}  // namespace puzzle
