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
  /// Writes `blocks` blocks of these fp32 values, bit for bit as the same reference; nullptr: the
  /// type is not written here. Values too large for a block's 16-bit numbers become infinite there.
  /// REQUIRES: the values are finite.
  void (*quantise)(const float* values, size_t blocks, unsigned char* out);
};

/// nullptr for a number that is no type of ggml.
[[nodiscard]] const GgmlType* FindGgmlType(uint32_t id);
/// Likewise for a name that is none.
[[nodiscard]] const GgmlType* FindGgmlType(std::string_view name);
/// By a name in capitals ("Q8_0"); nullptr when there is no such type, or it is not written here.
[[nodiscard]] const GgmlType* FindWritableGgmlType(std::string_view name);
/// "F32, F16, ...": the types whose values can be read; for messages.
[[nodiscard]] std::string ReadableGgmlTypes();

}  // namespace puzzle
