// Scales of 8-bit weights: blocks at the edges, and which block is meant. A file of each kind is
// read as a checkpoint in checkpoint_test.cpp.
#include "model/files/fp8.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "tests/io/safetensors_files.h"
#include "tests/io/test_files.h"

namespace puzzle {
namespace {

using testing::HasSubstr;

class Fp8Test : public testing::Test {
 protected:
  // A matrix of ones (0x38 in E4M3) and the scales 1, 2, 3, ...
  SafetensorsReader Write(int64_t rows, int64_t columns, int64_t scale_rows,
                          int64_t scale_columns) const {
    const int64_t n = rows * columns, scales = scale_rows * scale_columns;
    std::string data(static_cast<size_t>(n), '\x38');
    for (int64_t i = 0; i < scales; ++i) {
      const auto scale = static_cast<float>(i + 1);
      data.append(reinterpret_cast<const char*>(&scale), sizeof scale);
    }
    const std::string header =
        "{" +
        TensorEntry("w", "F8_E4M3", fmt::format("[{},{}]", rows, columns),
                    fmt::format("[0,{}]", n)) +
        "," +
        TensorEntry("w_scale_inv", "F32", fmt::format("[{},{}]", scale_rows, scale_columns),
                    fmt::format("[{},{}]", n, n + 4 * scales)) +
        "}";
    WriteBytes(folder_ / "model.safetensors", SafetensorsFile(header, data));
    return SafetensorsReader::Open(folder_ / "model.safetensors");
  }

  const TempFolder folder_;
};

// Counted by hand: how many blocks there are, the last of which may be smaller.
TEST_F(Fp8Test, EveryBlockHasItsScaleAndTheLastMayBeOfOneRowOrColumn) {
  struct Case {
    int64_t rows, columns;
    ScaleBlock block;
    int64_t scale_rows, scale_columns;
  };
  for (const Case& c :
       {Case{6, 4, {3, 2}, 2, 2}, Case{7, 5, {3, 2}, 3, 3}, Case{4, 3, {3, 2}, 2, 2},
        Case{129, 130, {128, 128}, 2, 2}, Case{2, 257, {128, 128}, 1, 3}}) {
    const SafetensorsReader reader = Write(c.rows, c.columns, c.scale_rows, c.scale_columns);
    const std::vector<float> values = ReadScaledF32(reader, "w", c.block);
    ASSERT_EQ(values.size(), static_cast<size_t>(c.rows * c.columns));
    size_t wrong = 0;
    for (int64_t r = 0; r < c.rows; ++r)
      for (int64_t k = 0; k < c.columns; ++k)
        wrong += values[static_cast<size_t>(r * c.columns + k)] !=
                 static_cast<float>(1 + r / c.block[0] * c.scale_columns + k / c.block[1]);
    EXPECT_EQ(wrong, 0u) << c.rows << " x " << c.columns;
  }
}

TEST_F(Fp8Test, AScaleOfAnotherShapeIsRefused) {
  const SafetensorsReader reader = Write(7, 5, 2, 3);
  EXPECT_THAT(
      ErrorOf([&] {
        (void)ReadScaledF32(reader, "w", {3, 2});
      }),
      HasSubstr("tensor w_scale_inv has shape [2, 3]; a scale of w [7, 5] is one number, one "
                "per row, or one per 3 x 2 block"));
}

TEST_F(Fp8Test, WhatBelongsToAWeightIsToldFromWhatDoesNot) {
  const SafetensorsReader reader = Write(2, 2, 1, 1);
  EXPECT_TRUE(IsFp8(reader, "w"));
  EXPECT_FALSE(IsFp8(reader, "w_scale_inv"));
  EXPECT_FALSE(IsFp8(reader, "v"));
  EXPECT_TRUE(IsFp8Scale(reader, "w_scale_inv"));
  EXPECT_TRUE(IsFp8Scale(reader, "w_scale")) << "it need not be there";
  EXPECT_FALSE(IsFp8Scale(reader, "w"));
  EXPECT_FALSE(IsFp8Scale(reader, "v_scale_inv"));
  EXPECT_FALSE(IsFp8Scale(reader, "input_scale")) << "of no weight in this file";
}

TEST(ScaleBlockTest, IsThatOfTheConfigElse128By128) {
  const auto read = [](const char* text) {
    const auto json = nlohmann::ordered_json::parse(text);
    return ReadScaleBlock(HfFields(json, "c"));
  };
  EXPECT_EQ(read("{}"), (ScaleBlock{128, 128}));
  EXPECT_EQ(read(R"({"quantization_config": {"quant_method": "fp8"}})"), (ScaleBlock{128, 128}));
  EXPECT_EQ(read(R"({"quantization_config": {"weight_block_size": [32, 12]}})"),
            (ScaleBlock{32, 12}));
  EXPECT_EQ(read(R"({"quantization_config": {"weight_block_size": [1, 65536]}})"),
            (ScaleBlock{1, 65536}));
  for (const char* wrong : {"5", "[32]", "[32, 12, 1]", "[0, 4]", "[4, 0]", "[65537, 4]",
                            "[4, 65537]", "[4.5, 4]", "[4, \"a\"]"})
    EXPECT_THAT(
        ErrorOf([&] {
          (void)read(fmt::format(R"({{"quantization_config": {{"weight_block_size": {}}}}})", wrong)
                         .c_str());
        }),
        HasSubstr("c: quantization_config: weight_block_size: expected two sizes"))
        << wrong;
}

}  // namespace
}  // namespace puzzle
