// The header of one safetensors file, checked. Thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "io/array.h"
#include "io/file.h"

namespace puzzle {

/// A tensor as its file declares it.
struct StoredTensor {
  std::string name;
  std::string dtype_name;      // as in the file: "F32", "F8_E4M3", ...
  std::optional<DType> dtype;  // nullopt: a type of the format that we do not know
  Shape shape;
  uint64_t offset = 0;  // from the start of the file
  uint64_t bytes = 0;
};

/// Reads and checks the header of an open file; the result is in the order of the data. Throws
/// Error naming file and tensor for everything that io/README.md lists.
[[nodiscard]] std::vector<StoredTensor> ReadSafetensorsHeader(const InputFile& file);

}  // namespace puzzle
