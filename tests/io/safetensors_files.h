// Builds safetensors files byte by byte, well-formed or not.
#pragma once

#include <cstdint>
#include <string>

namespace puzzle {

/// Length, header text, data.
inline std::string SafetensorsFile(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + header + data;
}

/// `"name":{"dtype":...,"shape":...,"data_offsets":...}`.
inline std::string TensorEntry(const std::string& name, const std::string& dtype,
                               const std::string& shape, const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":" + offsets + "}";
}

}  // namespace puzzle
