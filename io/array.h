// A tensor without a tensor library: element type, shape and bytes. Values; thread-compatible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace puzzle {

enum class DType : uint8_t { kF32, kF64, kF16, kBF16, kI8, kU8, kI16, kU16, kI32, kI64, kBool };

/// Bytes of one element.
[[nodiscard]] size_t ElementSize(DType dtype);
/// Lower-case name: "f32", "bf16", "i64", ...
[[nodiscard]] std::string_view DTypeName(DType dtype);
/// Inverse of DTypeName; nullopt for an unknown name.
[[nodiscard]] std::optional<DType> ParseDType(std::string_view name);

using Shape = std::vector<int64_t>;

/// Product of the dimensions (1 for a scalar). Throws Error when a dimension is negative or the
/// product, times 8 bytes, does not fit into 63 bits.
[[nodiscard]] int64_t NumElements(const Shape& shape);
/// "[2, 3]".
[[nodiscard]] std::string ShapeString(const Shape& shape);

/// Dense row-major data that somebody else owns.
struct ArrayView {
  DType dtype = DType::kF32;
  Shape shape;
  const void* data = nullptr;

  [[nodiscard]] size_t bytes() const {
    return static_cast<size_t>(NumElements(shape)) * ElementSize(dtype);
  }
};

/// Element type and shape of a stored array.
struct ArrayInfo {
  DType dtype = DType::kF32;
  Shape shape;
};

}  // namespace puzzle
