#include "io/safetensors_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string_view>
#include <tuple>

#include "io/error.h"
#include "io/json_text.h"
#include "io/lfs_pointer.h"

namespace puzzle {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr size_t kMaxNameBytes = 1024;
constexpr size_t kMaxRank = 8;

struct FormatType {
  std::string_view name;
  uint64_t bits;
  std::optional<DType> dtype;
};

/// Every element type of the format.
constexpr FormatType kFormatTypes[] = {
    {"BOOL", 8, DType::kBool},
    {"U8", 8, DType::kU8},
    {"I8", 8, DType::kI8},
    {"I16", 16, DType::kI16},
    {"U16", 16, DType::kU16},
    {"I32", 32, DType::kI32},
    {"U32", 32, std::nullopt},
    {"I64", 64, DType::kI64},
    {"U64", 64, std::nullopt},
    {"F16", 16, DType::kF16},
    {"BF16", 16, DType::kBF16},
    {"F32", 32, DType::kF32},
    {"F64", 64, DType::kF64},
    {"C64", 64, std::nullopt},
    {"F8_E4M3", 8, std::nullopt},
    {"F8_E5M2", 8, std::nullopt},
    {"F8_E8M0", 8, std::nullopt},
    {"F8_E4M3FNUZ", 8, std::nullopt},
    {"F8_E5M2FNUZ", 8, std::nullopt},
    {"F6_E2M3", 6, std::nullopt},
    {"F6_E3M2", 6, std::nullopt},
    {"F4", 4, std::nullopt},
};

/// Names go into messages, file listings and other formats.
void CheckName(const std::string& name, const std::string& path) {
  const auto is_control = [](unsigned char c) { return c < 0x20 || c == 0x7F; };
  if (name.empty()) throw Error(fmt::format("{}: tensor with an empty name", path));
  if (name.size() > kMaxNameBytes) {
    throw Error(fmt::format("{}: tensor name of {} bytes, at most {} are accepted", path,
                            name.size(), kMaxNameBytes));
  }
  if (std::ranges::any_of(name, is_control)) {
    throw Error(fmt::format("{}: control character in tensor name {}", path, Json(name).dump()));
  }
}

// The functions below describe what is wrong; the caller adds file and tensor.

const FormatType& TypeNamed(const std::string& name) {
  const auto* type = std::ranges::find(kFormatTypes, name, &FormatType::name);
  if (type == std::end(kFormatTypes)) throw Error(fmt::format("unknown dtype '{}'", name));
  return *type;
}

void CheckMetadata(const Json& metadata) {
  if (!metadata.is_object()) throw Error("not an object");
  for (const auto& [key, value] : metadata.items()) {
    if (!value.is_string()) throw Error(fmt::format("value of \"{}\" is not a string", key));
  }
}

const Json& Member(const Json& object, const char* key) {
  const auto member = object.find(key);
  if (member == object.end()) throw Error(fmt::format("\"{}\" is missing", key));
  return *member;
}

/// An array of at most `max_size` non-negative integers that fit into 63 bits.
std::vector<int64_t> Integers(const Json& list, size_t max_size, const char* what) {
  if (!list.is_array()) throw Error(fmt::format("{} is not an array", what));
  if (list.size() > max_size) {
    throw Error(
        fmt::format("{} has {} entries, at most {} are accepted", what, list.size(), max_size));
  }
  std::vector<int64_t> integers;
  for (const Json& entry : list) {
    if (!entry.is_number_unsigned() || entry.get<uint64_t>() > INT64_MAX) {
      throw Error(
          fmt::format("{} holds {}, expected a non-negative 63-bit integer", what, entry.dump()));
    }
    integers.push_back(entry.get<int64_t>());
  }
  return integers;
}

/// Bytes of a tensor; 4- and 6-bit types must fill whole bytes.
uint64_t TensorBytes(const FormatType& type, const Shape& shape) {
  uint64_t bits = 0;
  if (__builtin_mul_overflow(static_cast<uint64_t>(NumElements(shape)), type.bits, &bits) ||
      bits % 8 != 0) {
    throw Error(fmt::format("shape {} of {} is not a whole number of bytes", ShapeString(shape),
                            type.name));
  }
  return bits / 8;
}

/// The declaration of one tensor, its offset still relative to the data.
SafetensorsTensor ParseTensor(const std::string& name, const Json& declaration) {
  if (!declaration.is_object()) throw Error("not an object");
  const Json& dtype_name = Member(declaration, "dtype");
  if (!dtype_name.is_string()) throw Error("dtype is not a string");
  const FormatType& type = TypeNamed(dtype_name.get<std::string>());

  SafetensorsTensor tensor{name, std::string(type.name), type.dtype, {}};
  tensor.shape = Integers(Member(declaration, "shape"), kMaxRank, "shape");
  tensor.bytes = TensorBytes(type, tensor.shape);

  const auto offsets = Integers(Member(declaration, "data_offsets"), 2, "data_offsets");
  if (offsets.size() != 2) throw Error("data_offsets does not have two entries");
  if (offsets[1] < offsets[0]) {
    throw Error(fmt::format("data_offsets [{}, {}] end before they begin", offsets[0], offsets[1]));
  }
  tensor.offset = static_cast<uint64_t>(offsets[0]);
  if (static_cast<uint64_t>(offsets[1] - offsets[0]) != tensor.bytes) {
    throw Error(fmt::format("data_offsets [{}, {}] hold {} bytes, shape {} of {} needs {}",
                            offsets[0], offsets[1], offsets[1] - offsets[0],
                            ShapeString(tensor.shape), type.name, tensor.bytes));
  }
  return tensor;
}

/// Checks that tensors in the order of the data leave no byte of it unused or used twice.
void CheckLayout(const std::vector<SafetensorsTensor>& tensors, uint64_t data_bytes,
                 const std::string& path) {
  uint64_t end = 0;
  for (const SafetensorsTensor& tensor : tensors) {
    if (tensor.offset != end) {
      throw Error(fmt::format("{}: tensor '{}': begins at {}, {} the end of the one before at {}",
                              path, tensor.name, tensor.offset,
                              tensor.offset < end ? "overlapping" : "leaving a hole after", end));
    }
    end += tensor.bytes;
    if (end > data_bytes) {
      throw Error(fmt::format("{}: tensor '{}': ends at {}, the file has {} bytes of data", path,
                              tensor.name, end, data_bytes));
    }
  }
  if (end != data_bytes) {
    throw Error(fmt::format("{}: {} bytes after the last tensor", path, data_bytes - end));
  }
}

/// The text of the header. The length in front of it is checked against the file first.
std::string ReadHeaderText(const InputFile& file) {
  const auto fail = [&](const std::string& what) { throw Error(file.path() + ": " + what); };
  if (file.size() < kLengthBytes) {
    fail(fmt::format("{} bytes are too few for a safetensors file", file.size()));
  }
  uint64_t length = 0;
  file.ReadAt(0, &length, kLengthBytes);
  if (length > kMaxHeaderBytes) {
    std::string beginning(std::min<uint64_t>(file.size(), 64), '\0');
    file.ReadAt(0, beginning.data(), beginning.size());
    RefuseLfsPointer(beginning, file.path());
  }
  if (length > kMaxHeaderBytes) {
    fail(fmt::format("header of {} bytes, at most {} are accepted", length, kMaxHeaderBytes));
  }
  if (length > file.size() - kLengthBytes) {
    fail(fmt::format("header of {} bytes in a file of {}", length, file.size()));
  }
  std::string text(length, '\0');
  file.ReadAt(kLengthBytes, text.data(), text.size());
  if (!text.starts_with('{')) fail("header does not begin with '{'");
  return text;
}

}  // namespace

std::vector<SafetensorsTensor> ReadSafetensorsHeader(const InputFile& file) {
  const std::string text = ReadHeaderText(file);
  const JsonLimits limits{.max_depth = 8, .max_bytes = kMaxHeaderBytes, .allow_comments = false};
  const JsonText header = JsonText::Parse(text, file.path() + ": header", limits);

  std::vector<SafetensorsTensor> tensors;
  for (const auto& [name, declaration] : header.value().items()) {
    CheckName(name, file.path());
    try {
      if (name == "__metadata__") {
        CheckMetadata(declaration);
      } else {
        tensors.push_back(ParseTensor(name, declaration));
      }
    } catch (const Error& e) {
      throw WithContext(fmt::format("{}: tensor '{}'", file.path(), name), e);
    }
  }
  std::ranges::sort(tensors, {}, [](const SafetensorsTensor& tensor) {
    return std::tuple(tensor.offset, tensor.bytes);
  });
  const uint64_t data_begin = kLengthBytes + text.size();
  CheckLayout(tensors, file.size() - data_begin, file.path());
  for (SafetensorsTensor& tensor : tensors) tensor.offset += data_begin;
  return tensors;
}

}  // namespace puzzle
