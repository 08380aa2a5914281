// What a GGUF file says before its data. Part of gguf.cpp; thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "io/file.h"
#include "io/ggml_types.h"
#include "io/gguf.h"

namespace puzzle {

struct GgufTensor {
  std::string name;
  const GgmlType* type = nullptr;
  Shape shape;          // row-major
  uint64_t offset = 0;  // from the beginning of the file
  uint64_t bytes = 0;
};

struct GgufHeader {
  std::map<std::string, GgufValue> metadata;
  std::vector<GgufTensor> tensors;  // in the order of the file
};

/// Reads and checks the beginning of a file. Memory is allocated for what the file has bytes for.
/// Throws Error "path: ...".
[[nodiscard]] GgufHeader ReadGgufHeader(const InputFile& file);

}  // namespace puzzle
