// In which element types the weights of a checkpoint lie on disk. Torch-free; thread-safe (pure
// functions).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace puzzle {

struct StoredType {
  std::string name;  // as the file says it: "BF16", "Q4_1"
  int64_t tensors = 0;
  int64_t elements = 0;
  int64_t bytes = 0;
};

/// The types of all tensors of a folder or a GGUF file, the one with most bytes first. Reads
/// headers only. Throws Error naming file and tensor for headers that are malformed.
[[nodiscard]] std::vector<StoredType> ReadStoredTypes(const std::string& path);

}  // namespace puzzle
