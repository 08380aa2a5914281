#include "io/ggml_types.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "io/half.h"
#include "io/safetensors.h"

// Compiled with -ffp-contract=off (CMakeLists.txt): a product and the sum after it are each
// rounded.

namespace puzzle {
namespace {

static_assert(std::endian::native == std::endian::little, "blocks hold little-endian numbers");

constexpr size_t kSuper = 256;  // elements of a block of the K types

using Bytes = const unsigned char*;

float Half(Bytes at) {
  uint16_t bits = 0;
  std::memcpy(&bits, at, sizeof(bits));
  return F32FromF16(bits);
}

int Signed(unsigned char byte) {
  return static_cast<int8_t>(byte);
}

/// Bits [shift, shift + 4) of each of 32 bytes: the halves of a byte are 16 elements apart.
unsigned Nibble(Bytes packed, size_t i) {
  return i < 16 ? packed[i] & 15u : packed[i - 16] >> 4;
}

/// Calls `value(q)` for the 32 numbers of four bits in 16 bytes. They are copied first, so that the
/// compiler knows that what it writes is none of them, and takes vectors.
template <typename Value>
void FromNibbles(Bytes packed, float* values, Value value) {
  std::array<unsigned char, 16> own;
  std::memcpy(own.data(), packed, own.size());
  for (size_t i = 0; i < own.size(); ++i) values[i] = value(static_cast<int>(own[i]) & 15);
  for (size_t i = 0; i < own.size(); ++i) values[16 + i] = value(static_cast<int>(own[i]) >> 4);
}

/// Calls `block(data, out)` for each block.
template <size_t kBytes, size_t kElements, typename Block>
void ForEachBlock(Bytes data, size_t blocks, float* out, Block block) {
  for (size_t b = 0; b < blocks; ++b, data += kBytes, out += kElements) block(data, out);
}

void FromF32(Bytes data, size_t blocks, float* out) {
  std::memcpy(out, data, blocks * sizeof(float));
}

void FromF16(Bytes data, size_t blocks, float* out) {
  WidenF16(data, {out, blocks});
}

void FromBf16(Bytes data, size_t blocks, float* out) {
  WidenBF16(data, {out, blocks});
}

void FromQ4_0(Bytes data, size_t blocks, float* out) {
  ForEachBlock<18, 32>(data, blocks, out, [](Bytes at, float* values) {
    const float scale = Half(at);
    FromNibbles(at + 2, values, [&](int q) { return scale * static_cast<float>(q - 8); });
  });
}

void FromQ4_1(Bytes data, size_t blocks, float* out) {
  ForEachBlock<20, 32>(data, blocks, out, [](Bytes at, float* values) {
    const float scale = Half(at);
    const float least = Half(at + 2);
    FromNibbles(at + 4, values, [&](int q) { return scale * static_cast<float>(q) + least; });
  });
}

/// Five bits: four of a nibble, the highest in a word of 32.
unsigned FiveBits(Bytes high, Bytes low, size_t i) {
  return Nibble(low, i) | ((high[i / 8] >> (i % 8)) & 1u) << 4;
}

void FromQ5_0(Bytes data, size_t blocks, float* out) {
  ForEachBlock<22, 32>(data, blocks, out, [](Bytes at, float* values) {
    const float scale = Half(at);
    for (size_t i = 0; i < 32; ++i)
      values[i] = scale * static_cast<float>(static_cast<int>(FiveBits(at + 2, at + 6, i)) - 16);
  });
}

void FromQ5_1(Bytes data, size_t blocks, float* out) {
  ForEachBlock<24, 32>(data, blocks, out, [](Bytes at, float* values) {
    const float scale = Half(at);
    const float least = Half(at + 2);
    for (size_t i = 0; i < 32; ++i)
      values[i] = scale * static_cast<float>(FiveBits(at + 4, at + 8, i)) + least;
  });
}

void FromQ8_0(Bytes data, size_t blocks, float* out) {
  ForEachBlock<34, 32>(data, blocks, out, [](Bytes at, float* values) {
    const float scale = Half(at);
    std::array<signed char, 32> own;  // for the sake of vectors, as in FromNibbles
    std::memcpy(own.data(), at + 2, own.size());
    for (size_t i = 0; i < own.size(); ++i) values[i] = static_cast<float>(own[i]) * scale;
  });
}

void FromIq4Nl(Bytes data, size_t blocks, float* out) {
  constexpr std::array<float, 16> kLevels = {-127, -104, -83, -65, -49, -35, -22, -10,
                                             1,    13,   25,  38,  53,  69,  89,  113};
  ForEachBlock<18, 32>(data, blocks, out, [&](Bytes at, float* values) {
    const float scale = Half(at);
    for (size_t i = 0; i < 32; ++i) values[i] = scale * kLevels[Nibble(at + 2, i)];
  });
}

// The K types: 256 elements in 8 groups of 32 or 16 of 16, whose scales are small integers. Two
// bits of an element lie so: 32 bytes hold bits 0-1 of 32 elements, bits 2-3 of the next 32, and so
// on.
unsigned TwoBits(Bytes packed, size_t i) {
  return packed[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3u;
}

void FromQ2K(Bytes data, size_t blocks, float* out) {
  ForEachBlock<84, kSuper>(data, blocks, out, [](Bytes at, float* values) {
    const float scale = Half(at + 80);
    const float least = Half(at + 82);
    for (size_t i = 0; i < kSuper; ++i) {
      const unsigned group = at[i / 16];
      const float group_scale = scale * static_cast<float>(group & 15u);
      const float group_least = least * static_cast<float>(group >> 4);
      values[i] = group_scale * static_cast<float>(TwoBits(at + 16, i)) - group_least;
    }
  });
}

void FromQ3K(Bytes data, size_t blocks, float* out) {
  ForEachBlock<110, kSuper>(data, blocks, out, [](Bytes at, float* values) {
    const Bytes high = at;
    const Bytes low = at + 32;
    const Bytes packed = at + 96;  // 16 scales: four low bits in 8 bytes, two high ones in 4
    const float scale = Half(at + 108);
    for (size_t i = 0; i < kSuper; ++i) {
      const size_t group = i / 16;
      const unsigned low_bits = packed[group % 8] >> (group / 8 * 4) & 15u;
      const unsigned high_bits = packed[8 + group % 4] >> (group / 4 * 2) & 3u;
      const float group_scale =
          scale * static_cast<float>(static_cast<int>(low_bits | high_bits << 4) - 32);
      const bool is_high = (high[i % 32] >> (i / 32) & 1u) != 0;
      const int q = static_cast<int>(TwoBits(low, i)) - (is_high ? 0 : 4);
      values[i] = group_scale * static_cast<float>(q);
    }
  });
}

/// Elements are counted from the least one in steps of `scale`.
struct ScaleAndLeast {
  float scale;
  float least;
};

/// Of a group of 32, packed with those of others in 12 bytes.
ScaleAndLeast SixBits(Bytes packed, size_t group) {
  if (group < 4)
    return {static_cast<float>(packed[group] & 63u), static_cast<float>(packed[group + 4] & 63u)};
  const Bytes scales = packed + group - 4;
  const Bytes minima = packed + group;
  const unsigned both = packed[group + 4];
  return {static_cast<float>((both & 15u) | (*scales >> 2 & 48u)),
          static_cast<float>(both >> 4 | (*minima >> 2 & 48u))};
}

void FromQ4K(Bytes data, size_t blocks, float* out) {
  ForEachBlock<144, kSuper>(data, blocks, out, [](Bytes at, float* values) {
    const float scale = Half(at);
    const float least = Half(at + 2);
    for (size_t group = 0; group < 8; ++group) {
      const ScaleAndLeast own = SixBits(at + 4, group);
      const float group_scale = scale * own.scale;
      const float group_least = least * own.least;
      const Bytes packed = at + 16 + group / 2 * 32;
      for (size_t i = 0; i < 32; ++i) {
        const unsigned q = packed[i] >> (group % 2 * 4) & 15u;
        values[group * 32 + i] = group_scale * static_cast<float>(q) - group_least;
      }
    }
  });
}

void FromQ5K(Bytes data, size_t blocks, float* out) {
  ForEachBlock<176, kSuper>(data, blocks, out, [](Bytes at, float* values) {
    const float scale = Half(at);
    const float least = Half(at + 2);
    const Bytes high = at + 16;
    for (size_t group = 0; group < 8; ++group) {
      const ScaleAndLeast own = SixBits(at + 4, group);
      const float group_scale = scale * own.scale;
      const float group_least = least * own.least;
      const Bytes packed = at + 48 + group / 2 * 32;
      for (size_t i = 0; i < 32; ++i) {
        const unsigned q = (packed[i] >> (group % 2 * 4) & 15u) | (high[i] >> group & 1u) << 4;
        values[group * 32 + i] = group_scale * static_cast<float>(q) - group_least;
      }
    }
  });
}

void FromQ6K(Bytes data, size_t blocks, float* out) {
  ForEachBlock<210, kSuper>(data, blocks, out, [](Bytes at, float* values) {
    const Bytes low = at;
    const Bytes high = at + 128;
    const Bytes scales = at + 192;
    const float scale = Half(at + 208);
    for (size_t i = 0; i < kSuper; ++i) {
      const unsigned low_bits = low[i / 128 * 64 + i % 64] >> (i % 128 / 64 * 4) & 15u;
      const int q = static_cast<int>(low_bits | TwoBits(high, i) << 4) - 32;
      const float group_scale = scale * static_cast<float>(Signed(scales[i / 16]));
      values[i] = group_scale * static_cast<float>(q);
    }
  });
}

void Put(float value, unsigned char* at) {
  const uint16_t bits = F16FromF32(value);
  std::memcpy(at, &bits, sizeof(bits));
}

/// What values are multiplied by to be counted in steps of `scale`. Of steps so small that their
/// inverse is infinite f16 keeps nothing, so the block is its minimum whatever is counted.
float InverseOf(float scale) {
  const float inverse = 1.0F / scale;
  return std::isfinite(inverse) ? inverse : 0.0F;
}

/// Two elements of four bits in a byte, 16 elements apart.
void PutNibbles(const std::array<unsigned, 32>& q, unsigned char* at) {
  for (size_t i = 0; i < 16; ++i)
    at[i] = static_cast<unsigned char>((q[i] & 15u) | (q[i + 16] & 15u) << 4);
}

/// The fifth bits of 32 elements.
void PutHighBits(const std::array<unsigned, 32>& q, unsigned char* at) {
  uint32_t bits = 0;
  for (size_t i = 0; i < 32; ++i) bits |= (q[i] >> 4 & 1u) << i;
  std::memcpy(at, &bits, sizeof(bits));
}

/// Calls `block(values, out)` for each block.
template <size_t kBytes, size_t kElements, typename Block>
void ForEachBlockOf(const float* values, size_t blocks, unsigned char* out, Block block) {
  for (size_t b = 0; b < blocks; ++b, values += kElements, out += kBytes) block(values, out);
}

void ToF32(const float* values, size_t blocks, unsigned char* out) {
  std::memcpy(out, values, blocks * sizeof(float));
}

void ToF16(const float* values, size_t blocks, unsigned char* out) {
  NarrowToF16({values, blocks}, out);
}

void ToBf16(const float* values, size_t blocks, unsigned char* out) {
  NarrowToBF16({values, blocks}, out);
}

/// Elements in steps around zero: the largest in magnitude is -`kZero` steps, and the other end of
/// the range, which lacks a step, is cut off. Gives the size of a step.
template <unsigned kZero>
float CountAroundZero(const float* values, std::array<unsigned, 32>& q) {
  const float largest = *std::max_element(
      values, values + 32, [](float a, float b) { return std::abs(a) < std::abs(b); });
  const float scale = largest / -static_cast<float>(kZero);
  const float inverse = InverseOf(scale);
  for (size_t i = 0; i < 32; ++i)
    q[i] = std::min(static_cast<unsigned>(values[i] * inverse + (static_cast<float>(kZero) + 0.5F)),
                    2 * kZero - 1);
  return scale;
}

/// Elements in `kMost` steps from the least to the largest.
template <unsigned kMost>
ScaleAndLeast CountFromLeast(const float* values, std::array<unsigned, 32>& q) {
  const float least = *std::min_element(values, values + 32);
  const float largest = *std::max_element(values, values + 32);
  const float scale = (largest - least) / static_cast<float>(kMost);
  const float inverse = InverseOf(scale);
  for (size_t i = 0; i < 32; ++i)
    q[i] = std::min(static_cast<unsigned>((values[i] - least) * inverse + 0.5F), kMost);
  return {scale, least};
}

void ToQ4_0(const float* values, size_t blocks, unsigned char* out) {
  ForEachBlockOf<18, 32>(values, blocks, out, [](const float* own, unsigned char* at) {
    std::array<unsigned, 32> q = {};
    Put(CountAroundZero<8>(own, q), at);
    PutNibbles(q, at + 2);
  });
}

void ToQ4_1(const float* values, size_t blocks, unsigned char* out) {
  ForEachBlockOf<20, 32>(values, blocks, out, [](const float* own, unsigned char* at) {
    std::array<unsigned, 32> q = {};
    const ScaleAndLeast steps = CountFromLeast<15>(own, q);
    Put(steps.scale, at);
    Put(steps.least, at + 2);
    PutNibbles(q, at + 4);
  });
}

void ToQ5_0(const float* values, size_t blocks, unsigned char* out) {
  ForEachBlockOf<22, 32>(values, blocks, out, [](const float* own, unsigned char* at) {
    std::array<unsigned, 32> q = {};
    Put(CountAroundZero<16>(own, q), at);
    PutHighBits(q, at + 2);
    PutNibbles(q, at + 6);
  });
}

void ToQ5_1(const float* values, size_t blocks, unsigned char* out) {
  ForEachBlockOf<24, 32>(values, blocks, out, [](const float* own, unsigned char* at) {
    std::array<unsigned, 32> q = {};
    const ScaleAndLeast steps = CountFromLeast<31>(own, q);
    Put(steps.scale, at);
    Put(steps.least, at + 2);
    PutHighBits(q, at + 4);
    PutNibbles(q, at + 8);
  });
}

void ToQ8_0(const float* values, size_t blocks, unsigned char* out) {
  ForEachBlockOf<34, 32>(values, blocks, out, [](const float* own, unsigned char* at) {
    float largest = 0;
    for (size_t i = 0; i < 32; ++i) largest = std::max(largest, std::abs(own[i]));
    const float scale = largest / 127.0F;
    const float inverse = InverseOf(scale);
    Put(scale, at);
    for (size_t i = 0; i < 32; ++i)  // halves away from zero
      at[2 + i] = static_cast<unsigned char>(static_cast<int8_t>(std::round(own[i] * inverse)));
  });
}

constexpr GgmlType kTypes[] = {
    {0, "F32", 1, 4, FromF32, ToF32},           {1, "F16", 1, 2, FromF16, ToF16},
    {2, "Q4_0", 32, 18, FromQ4_0, ToQ4_0},      {3, "Q4_1", 32, 20, FromQ4_1, ToQ4_1},
    {6, "Q5_0", 32, 22, FromQ5_0, ToQ5_0},      {7, "Q5_1", 32, 24, FromQ5_1, ToQ5_1},
    {8, "Q8_0", 32, 34, FromQ8_0, ToQ8_0},      {9, "Q8_1", 32, 40, nullptr, nullptr},
    {10, "Q2_K", 256, 84, FromQ2K, nullptr},    {11, "Q3_K", 256, 110, FromQ3K, nullptr},
    {12, "Q4_K", 256, 144, FromQ4K, nullptr},   {13, "Q5_K", 256, 176, FromQ5K, nullptr},
    {14, "Q6_K", 256, 210, FromQ6K, nullptr},   {15, "Q8_K", 256, 292, nullptr, nullptr},
    {16, "IQ2_XXS", 256, 66, nullptr, nullptr}, {17, "IQ2_XS", 256, 74, nullptr, nullptr},
    {18, "IQ3_XXS", 256, 98, nullptr, nullptr}, {19, "IQ1_S", 256, 50, nullptr, nullptr},
    {20, "IQ4_NL", 32, 18, FromIq4Nl, nullptr}, {21, "IQ3_S", 256, 110, nullptr, nullptr},
    {22, "IQ2_S", 256, 82, nullptr, nullptr},   {23, "IQ4_XS", 256, 136, nullptr, nullptr},
    {24, "I8", 1, 1, nullptr, nullptr},         {25, "I16", 1, 2, nullptr, nullptr},
    {26, "I32", 1, 4, nullptr, nullptr},        {27, "I64", 1, 8, nullptr, nullptr},
    {28, "F64", 1, 8, nullptr, nullptr},        {29, "IQ1_M", 256, 56, nullptr, nullptr},
    {30, "BF16", 1, 2, FromBf16, ToBf16},       {34, "TQ1_0", 256, 54, nullptr, nullptr},
    {35, "TQ2_0", 256, 66, nullptr, nullptr},   {39, "MXFP4", 32, 17, nullptr, nullptr},
};

}  // namespace

const GgmlType* FindGgmlType(uint32_t id) {
  for (const GgmlType& type : kTypes)
    if (type.id == id) return &type;
  return nullptr;
}

const GgmlType* FindGgmlType(std::string_view name) {
  for (const GgmlType& type : kTypes)
    if (type.name == name) return &type;
  return nullptr;
}

const GgmlType* FindWritableGgmlType(std::string_view name) {
  for (const GgmlType& type : kTypes)
    if (type.name == name && type.quantise != nullptr) return &type;
  return nullptr;
}

std::string ReadableGgmlTypes() {
  std::string names;
  for (const GgmlType& type : kTypes) {
    if (type.dequantise == nullptr) continue;
    if (!names.empty()) names += ", ";
    names += type.name;
  }
  return names;
}

}  // namespace puzzle
