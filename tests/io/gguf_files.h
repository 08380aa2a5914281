// Builds GGUF files byte by byte, well-formed or not.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace puzzle {

/// The bytes of a number, little-endian.
template <typename T>
std::string Raw(T value) {
  std::string bytes(sizeof(value), '\0');
  std::memcpy(bytes.data(), &value, sizeof(value));
  return bytes;
}

inline std::string GgufText(const std::string& text) {
  return Raw<uint64_t>(text.size()) + text;
}

// Entries of the metadata; the numbers are those of the types.
inline std::string GgufU32(const std::string& key, uint32_t value) {
  return GgufText(key) + Raw<uint32_t>(4) + Raw(value);
}
inline std::string GgufF32(const std::string& key, float value) {
  return GgufText(key) + Raw<uint32_t>(6) + Raw(value);
}
inline std::string GgufBool(const std::string& key, bool value) {
  return GgufText(key) + Raw<uint32_t>(7) + Raw<uint8_t>(value ? 1 : 0);
}
inline std::string GgufString(const std::string& key, const std::string& value) {
  return GgufText(key) + Raw<uint32_t>(8) + GgufText(value);
}
template <typename T>
std::string GgufArray(const std::string& key, uint32_t type, const std::vector<T>& values) {
  std::string bytes = GgufText(key) + Raw<uint32_t>(9) + Raw(type) + Raw<uint64_t>(values.size());
  for (const T& value : values) bytes += Raw(value);
  return bytes;
}
inline std::string GgufI32s(const std::string& key, const std::vector<int32_t>& values) {
  return GgufArray(key, 5, values);
}
inline std::string GgufF32s(const std::string& key, const std::vector<float>& values) {
  return GgufArray(key, 6, values);
}
inline std::string GgufStrings(const std::string& key, const std::vector<std::string>& values) {
  std::string bytes =
      GgufText(key) + Raw<uint32_t>(9) + Raw<uint32_t>(8) + Raw<uint64_t>(values.size());
  for (const std::string& value : values) bytes += GgufText(value);
  return bytes;
}

/// An entry of the list of tensors; `dimensions` innermost first, as the file has them.
inline std::string GgufTensorInfo(const std::string& name, const std::vector<uint64_t>& dimensions,
                                  uint32_t type, uint64_t offset) {
  std::string bytes = GgufText(name) + Raw(static_cast<uint32_t>(dimensions.size()));
  for (const uint64_t dimension : dimensions) bytes += Raw(dimension);
  return bytes + Raw(type) + Raw(offset);
}

inline std::string GgufPadded(std::string bytes, size_t alignment = 32) {
  bytes.resize((bytes.size() + alignment - 1) / alignment * alignment);
  return bytes;
}

/// A tensor to be written; `dimensions` innermost first.
struct GgufData {
  std::string name;
  std::vector<uint64_t> dimensions;
  uint32_t type;
  std::string data;
};

/// A whole file of the given entries and tensors.
inline std::string GgufFile(const std::vector<std::string>& metadata,
                            const std::vector<GgufData>& tensors, uint32_t version = 3) {
  std::string bytes =
      "GGUF" + Raw(version) + Raw<uint64_t>(tensors.size()) + Raw<uint64_t>(metadata.size());
  for (const std::string& entry : metadata) bytes += entry;
  std::string data;
  for (const GgufData& tensor : tensors) {
    bytes += GgufTensorInfo(tensor.name, tensor.dimensions, tensor.type, data.size());
    data = GgufPadded(data + tensor.data);
  }
  return GgufPadded(bytes) + data;
}

/// A file with these raw parts behind version, number of tensors and number of keys.
inline std::string GgufRaw(uint64_t n_tensors, uint64_t n_keys, const std::string& rest,
                           uint32_t version = 3) {
  return "GGUF" + Raw(version) + Raw(n_tensors) + Raw(n_keys) + rest;
}

}  // namespace puzzle
