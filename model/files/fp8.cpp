#include "model/files/fp8.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "io/error.h"

namespace puzzle {

namespace {

constexpr std::string_view kType = "F8_E4M3";

// Where a weight's scale lies, or nothing.
std::string ScaleOf(const SafetensorsReader& reader, const std::string& name) {
  for (const char* suffix : {"_scale_inv", "_scale"})
    if (reader.Has(name + suffix)) return name + suffix;
  return {};
}

int64_t Parts(int64_t size, int64_t part) {
  return (size + part - 1) / part;
}

}  // namespace

ScaleBlock ReadScaleBlock(const HfFields& config) {
  ScaleBlock block = {128, 128};
  const auto* found = config.Find("quantization_config");
  if (found == nullptr) return block;
  const HfFields quantization(*found, config.where() + ": quantization_config");
  const auto* size = quantization.Find("weight_block_size");
  if (size == nullptr) return block;
  const auto fits = [](const auto& n) { return n.is_number_integer() && n >= 1 && n <= 65536; };
  if (!size->is_array() || size->size() != 2 || !fits((*size)[0]) || !fits((*size)[1]))
    quantization.Wrong("weight_block_size", "two sizes", *size);
  return {(*size)[0].get<int64_t>(), (*size)[1].get<int64_t>()};
}

bool IsFp8(const SafetensorsReader& reader, const std::string& name) {
  return reader.Has(name) && reader.TypeOf(name) == kType;
}

bool IsFp8Scale(const SafetensorsReader& reader, const std::string& name) {
  for (const std::string_view suffix : {"_scale_inv", "_scale"})
    if (name.ends_with(suffix) && IsFp8(reader, name.substr(0, name.size() - suffix.size())))
      return true;
  constexpr std::string_view kInput = "input_scale";
  return name.ends_with(kInput) &&
         IsFp8(reader, name.substr(0, name.size() - kInput.size()) + "weight");
}

std::vector<float> ReadScaledF32(const SafetensorsReader& reader, const std::string& name,
                                 const ScaleBlock& block) {
  std::vector<float> values = reader.ReadF32(name);
  const std::string scale_name = IsFp8(reader, name) ? ScaleOf(reader, name) : "";
  if (scale_name.empty()) return values;
  const Shape& shape = reader.ShapeOf(name);
  const Shape& scale_shape = reader.ShapeOf(scale_name);
  const int64_t rows = shape.empty() ? 1 : shape[0];
  const int64_t columns = rows > 0 ? static_cast<int64_t>(values.size()) / rows : 0;
  ScaleBlock of_one;  // rows and columns that share a scale
  if (NumElements(scale_shape) == 1) {
    of_one = {rows, columns};
  } else if (scale_shape == Shape{rows} || scale_shape == Shape{rows, 1}) {
    of_one = {1, columns};
  } else if (scale_shape == Shape{Parts(rows, block[0]), Parts(columns, block[1])}) {
    of_one = block;
  } else {
    throw Error(fmt::format(
        "{}: tensor {} has shape {}; a scale of {} {} is one number, one per row, or one per {} x "
        "{} block",
        reader.FileOf(scale_name), scale_name, ShapeString(scale_shape), name, ShapeString(shape),
        block[0], block[1]));
  }
  const std::vector<float> scales = reader.ReadF32(scale_name);
  const int64_t per_row = columns > 0 ? Parts(columns, of_one[1]) : 0;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      const int64_t scale = r / of_one[0] * per_row + c / of_one[1];
      values[static_cast<size_t>(r * columns + c)] *= scales[static_cast<size_t>(scale)];
    }
  }
  return values;
}

}  // namespace puzzle
