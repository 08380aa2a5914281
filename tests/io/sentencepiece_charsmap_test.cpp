#include "io/sentencepiece_charsmap.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/io/test_files.h"

namespace puzzle {
namespace {

using testing::HasSubstr;

/// A protobuf field that holds bytes.
std::string Field(int number, const std::string& bytes) {
  std::string field(1, static_cast<char>(number << 3 | 2));
  size_t length = bytes.size();
  for (; length >= 0x80; length >>= 7) field += static_cast<char>(length | 0x80);
  return field + static_cast<char>(length) + bytes;
}

std::string ModelWith(const std::string& map) {
  const std::string piece = Field(1, "a") + std::string("\x15\0\0\0\0\x18\x01", 7);
  return Field(1, piece) + Field(3, Field(1, "nfkc") + Field(2, map));
}

std::string U32(uint32_t value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

uint32_t Unit(uint32_t offset, bool has_leaf, char label) {
  return offset << 10 | uint32_t{has_leaf} << 8 | static_cast<unsigned char>(label);
}

/// A map of 'A' to the text at `value`: the root leads to unit 'A', whose value is at `value_at`.
std::string Map(uint32_t value_at = 7, uint32_t value = 0, const std::string& texts = "a") {
  std::vector<uint32_t> units(256, 0);
  units['A'] = Unit('A' ^ value_at, true, 'A');
  if (value_at < units.size()) units[value_at] = value | 1u << 31;
  std::string map = U32(1024);
  for (const uint32_t unit : units) map += U32(unit);
  return map + texts + '\0';
}

std::string Refusal(const std::string& model) {
  return ErrorOf([&] { CheckCharacterMaps(model); });
}

TEST(CharacterMapTest, SoundMapsPass) {
  CheckCharacterMaps(ModelWith(Map()));
  CheckCharacterMaps(ModelWith(""));
  CheckCharacterMaps(Field(1, Field(1, "a")));
  CheckCharacterMaps("");
}

TEST(CharacterMapTest, StepOutOfTheTrieIsRefused) {
  EXPECT_THAT(Refusal(ModelWith(Map(256))), HasSubstr("damaged character map"));
}

TEST(CharacterMapTest, ValueOutOfTheTextsIsRefused) {
  CheckCharacterMaps(ModelWith(Map(7, 1)));
  EXPECT_THAT(Refusal(ModelWith(Map(7, 2))), HasSubstr("damaged character map"));
}

TEST(CharacterMapTest, TextWithoutAnEndIsRefused) {
  std::string map = Map();
  map.back() = 'x';
  EXPECT_THAT(Refusal(ModelWith(map)), HasSubstr("damaged character map"));
}

TEST(CharacterMapTest, CutMapsAreRefused) {
  const std::string map = Map();
  for (size_t size = 1; size < map.size(); ++size) {
    EXPECT_THAT(Refusal(ModelWith(map.substr(0, size))), HasSubstr("damaged character map"));
  }
}

TEST(CharacterMapTest, TrieSizesThatCannotBeAreRefused) {
  for (const uint32_t bytes : {0u, 1u, 1022u, 1020u, 1026u, 1028u, UINT32_MAX}) {
    EXPECT_THAT(Refusal(ModelWith(U32(bytes) + Map().substr(4))), HasSubstr("damaged")) << bytes;
  }
}

TEST(CharacterMapTest, BothNormalizersAreChecked) {
  EXPECT_THAT(Refusal(ModelWith(Map()) + Field(5, Field(2, Map(256)))), HasSubstr("damaged"));
}

TEST(CharacterMapTest, WhatIsNoProtobufIsRefused) {
  for (const std::string model :
       {"\x0A\x05\x61", "\xFF", "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", "\x0B",
        "\x0D\x01"}) {
    EXPECT_THAT(Refusal(model), HasSubstr("not a protobuf message"));
  }
}

}  // namespace
}  // namespace puzzle
