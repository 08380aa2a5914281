#include "io/array.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>

#include "io/error.h"

namespace puzzle {
namespace {

struct DTypeEntry {
  DType dtype;
  size_t size;
  std::string_view name;
};

constexpr std::array kDTypes = {
    DTypeEntry{DType::kF32, 4, "f32"},   DTypeEntry{DType::kF64, 8, "f64"},
    DTypeEntry{DType::kF16, 2, "f16"},   DTypeEntry{DType::kBF16, 2, "bf16"},
    DTypeEntry{DType::kI8, 1, "i8"},     DTypeEntry{DType::kU8, 1, "u8"},
    DTypeEntry{DType::kI16, 2, "i16"},   DTypeEntry{DType::kU16, 2, "u16"},
    DTypeEntry{DType::kI32, 4, "i32"},   DTypeEntry{DType::kI64, 8, "i64"},
    DTypeEntry{DType::kBool, 1, "bool"},
};

const DTypeEntry& EntryOf(DType dtype) {
  const auto index = static_cast<size_t>(dtype);
  PUZZLE_CHECK(index < kDTypes.size() && kDTypes[index].dtype == dtype, "no such DType");
  return kDTypes[index];
}

}  // namespace

size_t ElementSize(DType dtype) {
  return EntryOf(dtype).size;
}

std::string_view DTypeName(DType dtype) {
  return EntryOf(dtype).name;
}

std::optional<DType> ParseDType(std::string_view name) {
  for (const DTypeEntry& entry : kDTypes) {
    if (entry.name == name) return entry.dtype;
  }
  return std::nullopt;
}

int64_t NumElements(const Shape& shape) {
  // A zero anywhere makes the product zero, but the other dimensions must still be sane: they
  // become the size of a row.
  int64_t product = 1;
  bool empty = false;
  for (const int64_t dim : shape) {
    if (dim < 0) throw Error(fmt::format("shape {} has a negative dimension", ShapeString(shape)));
    if (dim == 0) {
      empty = true;
    } else if (__builtin_mul_overflow(product, dim, &product) || product > INT64_MAX / 8) {
      throw Error(fmt::format("shape {} has too many elements", ShapeString(shape)));
    }
  }
  return empty ? 0 : product;
}

std::string ShapeString(const Shape& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

}  // namespace puzzle
