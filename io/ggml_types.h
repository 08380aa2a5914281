// The element types of ggml, in which GGUF files hold tensors: blocks of numbers that share a
// scale. Thread-safe (constant tables, pure functions).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace puzzle {

/// A row is cut into blocks of `block_elements`, each stored in `block_bytes`.
struct GgmlType {
  uint32_t id;  // in the file
  std::string_view name;
  uint32_t block_elements;
  uint32_t block_bytes;
  /// Writes the fp32 values of `blocks` blocks to `out`, bit for bit as the reference, the PyPI
  /// package `gguf` (numpy, fp32, every product and sum rounded); nullptr: the type is known by
  /// name and size only.
  void (*dequantise)(const unsigned char* data, size_t blocks, float* out);
};

/// nullptr for a number that is no type of ggml.
[[nodiscard]] const GgmlType* FindGgmlType(uint32_t id);
/// Likewise for a name that is none.
[[nodiscard]] const GgmlType* FindGgmlType(std::string_view name);
/// "F32, F16, ...": the types whose values can be read; for messages.
[[nodiscard]] std::string ReadableGgmlTypes();

}  // namespace puzzle
