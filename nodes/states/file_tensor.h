// Tensors that may be larger than the memory.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "io/array.h"

namespace puzzle {

/// A tensor on the CPU, all zeros, whose memory is a file: the system keeps in memory what is used,
/// as far as there is room. The file is made at `path`, loses its name at once, and takes its room
/// on the disk as long as the tensor lives. Throws Error when it cannot be made or the disk has too
/// little room.
[[nodiscard]] at::Tensor FileTensor(const std::string& path, const Shape& shape,
                                    at::ScalarType type);

/// Where data is kept that may be larger than the memory.
struct DataRoom {
  size_t in_memory = std::numeric_limits<size_t>::max();  // bytes of one piece of data at most
  std::function<std::string()> path;                      // names of new files for larger ones
};
/// A tensor whose values are to come, on the CPU: in memory where it is small enough, else in a
/// file. Throws Error as FileTensor.
[[nodiscard]] at::Tensor RoomFor(const Shape& shape, at::ScalarType type, const DataRoom& room);

/// Has the system read what is not in memory of the rows all[row], without waiting for it. Does
/// nothing for tensors that are no file's. REQUIRES: `all` is contiguous and on the CPU.
void ReadAhead(const at::Tensor& all, const std::vector<int64_t>& rows);

}  // namespace puzzle
