// Dequantising and quantising, bit for bit as the reference does it.
#include "io/ggml_types.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "io/fingerprint.h"

namespace puzzle {
namespace {

constexpr size_t kBlocks = 512;

/// Printed by ggml_digests.py from the PyPI package `gguf` 0.19.0: SHA-256 of the fp32 values.
struct Reference {
  const char* type;
  const char* digest;
};

constexpr Reference kReferences[] = {
    {"F32", "858b6654f5ecb0e4b92458558ad47c1da2876b51b07e925debf8ed5f153b220e"},
    {"F16", "74dd02237055c3b2ad447cb7662fd5f1123be8b0864fa1ca500e022d5088df8f"},
    {"BF16", "fafe68c6d1a66c6024d2e6c48c032d6072f8a336dca6c57946ee611066a8fa7c"},
    {"Q4_0", "296f269a320b01ee3312219a5d67044873b2cc49eb3b25b177f1c310d75b64a2"},
    {"Q4_1", "a3703b4b5e9370179c4c5d9eea12a574237f9d468287501301077de7d778bff4"},
    {"Q5_0", "41e9f6b107bf41e944ce91dbc80664d6141431302a1fda6ca23afcef9a0372c3"},
    {"Q5_1", "ffbc05a57258a6b5ce483dcf728f4ddf3586eb8452cc827346dcd95012e729c7"},
    {"Q8_0", "d3a2ed936f783bbf83cde38b2f0da9ab98b3d769c326fda99bbb0696bb5dac92"},
    {"IQ4_NL", "d059184d0b9bdd47301121a1677fe0c2d76fa3013e02454ba05c874fa911b90b"},
    {"Q2_K", "f6e8b4af229a552598d36a26c91a7ee7b28652b645353b338df04696b0e9255d"},
    {"Q3_K", "7fd7c6721393f56ff9a7f4612a0aefe184552dd29da762cb1c9af0ad1f5909df"},
    {"Q4_K", "bc6a08b9ee15b93d16041c03e1d184976e65963213e2b2fe8e2e0e89e56481d8"},
    {"Q5_K", "086bf8425eaa6b51b10d8b193a6439d2a4e1f775795cfcddd9cf6a1ba0831c69"},
    {"Q6_K", "cdfb2746513bb901b4369dc03a6ab254db670ddb15db671f775fadf62aec1e3f"},
};

void PrintTo(const Reference& reference, std::ostream* out) {
  *out << reference.type;
}

const GgmlType* Named(std::string_view name) {
  for (uint32_t id = 0; id < 64; ++id) {
    const GgmlType* type = FindGgmlType(id);
    if (type != nullptr && type->name == name) return type;
  }
  return nullptr;
}

/// The same bytes as in ggml_digests.py.
std::vector<unsigned char> RandomBytes(size_t count) {
  uint64_t state = 1;
  std::vector<unsigned char> bytes(count);
  for (unsigned char& byte : bytes) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    byte = static_cast<unsigned char>(state >> 56);
  }
  return bytes;
}

/// Where 16- and 32-bit scales end in a block.
std::vector<size_t> TopBytesOfScales(std::string_view type) {
  if (type == "F32") return {3};
  if (type == "Q4_1" || type == "Q5_1" || type == "Q4_K" || type == "Q5_K") return {1, 3};
  if (type == "Q2_K") return {81, 83};
  if (type == "Q3_K") return {109};
  if (type == "Q6_K") return {209};
  return {1};
}

class GgmlTypesTest : public testing::TestWithParam<Reference> {};

TEST_P(GgmlTypesTest, RandomBlocksBecomeTheValuesOfTheReference) {
  const GgmlType* type = Named(GetParam().type);
  ASSERT_NE(type, nullptr);
  std::vector<unsigned char> data = RandomBytes(kBlocks * type->block_bytes);
  for (size_t block = 0; block < kBlocks; ++block)
    for (const size_t top : TopBytesOfScales(type->name))
      data[block * type->block_bytes + top] &= 0xBF;  // neither NaN nor infinity
  std::vector<float> values(kBlocks * type->block_elements);
  type->dequantise(data.data(), kBlocks, values.data());
  EXPECT_EQ(Fingerprint().Add(values.data(), values.size() * sizeof(float)).Hex(),
            GetParam().digest);
}

INSTANTIATE_TEST_SUITE_P(Types, GgmlTypesTest, testing::ValuesIn(kReferences),
                         [](const auto& info) { return std::string(info.param.type); });

/// Printed by ggml_digests.py likewise: SHA-256 of the blocks.
constexpr Reference kWritten[] = {
    {"F32", "f28cc49913ad481e0dbcb1736cfd83dc9cd7fc56a530a0f151eb448955067520"},
    {"F16", "eecd2068a16832f7cc415f52bd528b81ba86a4630fad729374e5851f4b29f18f"},
    {"BF16", "a0839bd0ca99478e976b6c8a93b0ce8b0feb2c50d0725626b2695613bd2447c9"},
    {"Q4_0", "23dd8e72828a376916fa0088329e0fc36d223915c6e80cf4584a4138462a1e46"},
    {"Q4_1", "1e5baf0413cfae33e5652bc8ef49b9a69fa06af9bd066603ae1e56dd75bc9afc"},
    {"Q5_0", "4809edbf8a733380f9fb1cabfd9eea9b4f9af1c681353b694e2a2a80cf59b5e3"},
    {"Q5_1", "20f3f58e099ac6e0672cb811b321ddb5331482b2b7947f4c8ad9793bf807ad5c"},
    {"Q8_0", "1db2ed6bd4ec6d55175d19a997c8d700551191dd094549d17281f68dbbce7080"},
};

/// The same values as in ggml_digests.py: 16-bit noise of many magnitudes, a block of zeros and one
/// of equal values.
std::vector<float> Noise() {
  const std::vector<unsigned char> bytes = RandomBytes(kBlocks * 32 * 2);
  std::vector<float> values(kBlocks * 32);
  for (size_t i = 0; i < values.size(); ++i) {
    int16_t noise = 0;
    std::memcpy(&noise, bytes.data() + 2 * i, sizeof(noise));
    const auto exponent = static_cast<int>(i / 32 % 24) - 16 - 15;
    values[i] = i < 32 ? 0.0F : i < 64 ? 0.5F : std::ldexp(static_cast<float>(noise), exponent);
  }
  return values;
}

class QuantiseTest : public testing::TestWithParam<Reference> {};

TEST_P(QuantiseTest, ValuesBecomeTheBlocksOfTheReference) {
  const GgmlType* type = FindWritableGgmlType(GetParam().type);
  ASSERT_NE(type, nullptr);
  const std::vector<float> values = Noise();
  const size_t blocks = values.size() / type->block_elements;
  std::vector<unsigned char> data(blocks * type->block_bytes);
  type->quantise(values.data(), blocks, data.data());
  EXPECT_EQ(Fingerprint().Add(data.data(), data.size()).Hex(), GetParam().digest);
}

TEST_P(QuantiseTest, WhatWasReadIsWrittenAsValuesThatAreReadAgain) {
  const GgmlType* type = FindWritableGgmlType(GetParam().type);
  const std::vector<float> values = Noise();
  const size_t blocks = values.size() / type->block_elements;
  std::vector<unsigned char> data(blocks * type->block_bytes);
  std::vector<float> read(values.size());
  type->quantise(values.data(), blocks, data.data());
  type->dequantise(data.data(), blocks, read.data());
  const bool is_float = type->block_elements == 1;
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t first = i / 32 * 32;
    float largest = 0;
    for (size_t k = first; k < first + 32; ++k) largest = std::max(largest, std::abs(values[k]));
    const float step = is_float ? std::abs(values[i]) / 128 : largest / 7;
    ASSERT_LE(std::abs(read[i] - values[i]), step + 0x1p-24F) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Types, QuantiseTest, testing::ValuesIn(kWritten),
                         [](const auto& info) { return std::string(info.param.type); });

TEST(GgmlTypesTest, BlocksTooSmallForTheirScaleAreZeros) {
  for (const char* name : {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"}) {
    const GgmlType* type = FindWritableGgmlType(name);
    std::vector<float> values(32, std::numeric_limits<float>::denorm_min());
    values[3] = -values[3];
    std::vector<unsigned char> data(type->block_bytes);
    type->quantise(values.data(), 1, data.data());
    type->dequantise(data.data(), 1, values.data());
    for (const float value : values) EXPECT_EQ(value, 0.0F) << name;
  }
}

TEST(GgmlTypesTest, OnlySomeTypesAreWritten) {
  EXPECT_EQ(FindWritableGgmlType("Q4_K"), nullptr);
  EXPECT_EQ(FindWritableGgmlType("q8_0"), nullptr);
  EXPECT_EQ(FindWritableGgmlType("BF16")->id, 30U);
}

TEST(GgmlTypesTest, ReadableTypesAreThoseOfTheReferences) {
  EXPECT_EQ(ReadableGgmlTypes(),
            "F32, F16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, BF16");
  EXPECT_EQ(FindGgmlType(4), nullptr);
  EXPECT_EQ(FindGgmlType(16)->name, "IQ2_XXS");
  EXPECT_EQ(FindGgmlType(16)->dequantise, nullptr);
}

}  // namespace
}  // namespace puzzle
