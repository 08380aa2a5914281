// What reading and writing safetensors share: names of files, and the header of one file, checked.
// Thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "io/array.h"
#include "io/file.h"

namespace puzzle {

/// What a checkpoint folder holds: one file, or an index of several.
inline constexpr const char* kSafetensorsName = "model.safetensors";
inline constexpr const char* kSafetensorsIndexName = "model.safetensors.index.json";

/// A tensor as its file declares it.
struct SafetensorsTensor {
  std::string name;
  std::string dtype_name;      // as in the file: "F32", "F8_E4M3", ...
  std::optional<DType> dtype;  // nullopt: a type of the format that we do not know
  Shape shape;
  uint64_t offset = 0;  // from the start of the file
  uint64_t bytes = 0;
};

/// Reads and checks the header of an open file; the result is in the order of the data. Throws
/// Error naming file and tensor for everything that io/README.md lists.
[[nodiscard]] std::vector<SafetensorsTensor> ReadSafetensorsHeader(const InputFile& file);

}  // namespace puzzle
