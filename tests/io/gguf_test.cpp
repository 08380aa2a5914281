// GGUF files: what is read, and that every malformed one is refused with a message that names file
// and field.
#include "io/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "io/fingerprint.h"
#include "tests/io/gguf_files.h"
#include "tests/io/test_files.h"

namespace puzzle {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pointee;

constexpr uint32_t kF32 = 0;
constexpr uint32_t kQ8_0 = 8;
constexpr uint32_t kIq2Xxs = 16;

std::string GgufZeros(size_t bytes) {
  return std::string(bytes, '\0');
}

std::string Floats(const std::vector<float>& values) {
  std::string bytes;
  for (const float value : values) bytes += Raw(value);
  return bytes;
}

/// Two tensors and a value of every type.
std::string GoodFile(uint32_t version = 3) {
  return GgufFile(
      {GgufString("general.architecture", "llama"), GgufU32("n", 7), GgufF32("eps", 1e-5F),
       GgufBool("yes", true), GgufStrings("names", {"a", "", "\xC3\xA4"}),
       GgufI32s("types", {1, -2}), GgufF32s("scores", {0.5F, -1.0F}),
       GgufText("big") + Raw<uint32_t>(10) + Raw<uint64_t>(INT64_MAX),
       GgufText("small") + Raw<uint32_t>(1) + Raw<int8_t>(-3)},
      {{"b", {3, 2}, kF32, Floats({1, 2, 3, 4, 5, 6})}, {"a", {2}, kF32, Floats({7, 8})}}, version);
}

TEST(GgufTest, MetadataAndTensorsComeBack) {
  const TempFolder folder;
  for (const uint32_t version : {2U, 3U}) {
    WriteBytes(folder / "good.gguf", GoodFile(version));
    const GgufReader reader = GgufReader::Open(folder / "good.gguf");
    EXPECT_EQ(reader.FindText("general.architecture"), "llama");
    EXPECT_EQ(reader.FindInt("n"), 7);
    EXPECT_EQ(reader.FindInt("big"), INT64_MAX);
    EXPECT_EQ(reader.FindInt("small"), -3);
    EXPECT_EQ(reader.FindNumber("eps"), 1e-5);  // not the float's 9.99999974e-06
    EXPECT_EQ(reader.FindBool("yes"), true);
    EXPECT_EQ(reader.FindBool("no"), std::nullopt);
    EXPECT_THAT(reader.FindTexts("names"), Pointee(ElementsAre("a", "", "\xC3\xA4")));
    EXPECT_THAT(reader.FindInts("types"), Pointee(ElementsAre(1, -2)));
    EXPECT_THAT(reader.FindNumbers("scores"), Pointee(ElementsAre(0.5, -1.0)));
    EXPECT_THAT(ErrorOf([&] { (void)reader.FindInt("yes"); }),
                HasSubstr("yes: expected an integer"));
    EXPECT_THAT(reader.Names(), ElementsAre("a", "b"));
    EXPECT_EQ(reader.ShapeOf("b"), (Shape{2, 3}));
    EXPECT_EQ(reader.TypeOf("b"), "F32");
    std::vector<float> values(6);
    reader.ReadF32("b", values);
    EXPECT_THAT(values, ElementsAre(1, 2, 3, 4, 5, 6));
    EXPECT_TRUE(reader.SameBytes("b", "b"));
    EXPECT_FALSE(reader.SameBytes("a", "b"));
    EXPECT_THAT(ErrorOf([&] { (void)reader.ShapeOf("c"); }), HasSubstr("no tensor 'c'"));
  }
}

TEST(GgufTest, ValuesThatAreNotReadAreRefusedByName) {
  const TempFolder folder;
  WriteBytes(folder / "odd.gguf", GgufFile({}, {{"q", {256}, kIq2Xxs, GgufZeros(66)},
                                                {"nan", {1}, kF32, Floats({std::nanf("")})}}));
  const GgufReader reader = GgufReader::Open(folder / "odd.gguf");
  std::vector<float> values(256);
  EXPECT_THAT(ErrorOf([&] { reader.ReadF32("q", values); }),
              HasSubstr("tensor 'q': type IQ2_XXS is not supported (F32, "));
  values.resize(1);
  EXPECT_THAT(ErrorOf([&] { reader.ReadF32("nan", values); }),
              HasSubstr("tensor 'nan': element 0 is nan"));
}

TEST(GgufTest, RowsAreReadAlone) {
  const TempFolder folder;
  std::string blocks;  // 5 rows of 2 blocks
  for (int block = 0; block < 10; ++block)
    blocks += Raw<uint16_t>(0x3C00) + std::string(32, static_cast<char>(block));
  WriteBytes(folder / "rows.gguf",
             GgufFile({}, {{"q", {64, 5}, kQ8_0, blocks},
                           {"v", {2, 3}, kF32, Floats({1, 2, 3, std::nanf(""), 5, 6})}}));
  const GgufReader reader = GgufReader::Open(folder / "rows.gguf");
  std::vector<float> whole(320), some(128);
  reader.ReadF32("q", whole);
  reader.ReadRowsF32("q", 2, some);
  EXPECT_EQ(some, std::vector<float>(whole.begin() + 128, whole.begin() + 256));
  some.resize(2);
  reader.ReadRowsF32("v", 2, some);  // the bad row is not read
  EXPECT_THAT(some, ElementsAre(5, 6));
  EXPECT_THAT(ErrorOf([&] { reader.ReadRowsF32("v", 1, some); }),
              HasSubstr("tensor 'v': element 3 is nan"));
  EXPECT_THROW(reader.ReadRowsF32("v", 3, some), BugError);
}

TEST(GgufTest, ATensorLargerThanAPieceIsReadWhole) {
  const TempFolder folder;
  constexpr size_t kBlocks = 200'001;  // 6.8 MB; pieces are of 4 MiB
  std::string data;
  for (size_t block = 0; block < kBlocks; ++block)
    data += Raw<uint16_t>(0x3C00) + std::string(32, static_cast<char>(block % 127));
  std::string other = data;
  other.back() ^= 1;
  WriteBytes(folder / "large.gguf", GgufFile({}, {{"t", {32, kBlocks}, kQ8_0, data},
                                                  {"same", {32, kBlocks}, kQ8_0, data},
                                                  {"other", {32, kBlocks}, kQ8_0, other}}));
  std::vector<float> values(kBlocks * 32);
  const GgufReader reader = GgufReader::Open(folder / "large.gguf");
  reader.ReadF32("t", values);
  EXPECT_TRUE(reader.SameBytes("t", "same"));
  EXPECT_FALSE(reader.SameBytes("t", "other"));
  for (size_t i = 0; i < values.size(); i += 31)
    ASSERT_EQ(values[i], static_cast<float>(i / 32 % 127)) << i;
}

// A head may be a gigabyte, and is compared with the embedding whenever the file is opened.
TEST(GgufTest, TensorsAreComparedUpToTheFirstDifference) {
  const TempFolder folder;
  constexpr size_t kValues = 300'000;
  std::string ones = GgufZeros(kValues * sizeof(float)), zeros = ones;
  ones.front() = 1;
  const std::string path = folder / "large.gguf";
  WriteBytes(path,
             GgufFile({}, {{"first", {kValues}, kF32, zeros}, {"second", {kValues}, kF32, ones}}));
  const GgufReader reader = GgufReader::Open(path);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 100'000);
  EXPECT_FALSE(reader.SameBytes("second", "first"));
  EXPECT_FALSE(reader.SameBytes("first", "second"));
  EXPECT_THAT(ErrorOf([&] { (void)reader.SameBytes("second", "second"); }), HasSubstr("ends at"));
}

TEST(GgufTest, DigestIsOfContentNotOfOrderOrParts) {
  const TempFolder folder;
  const auto digest = [&](const std::string& bytes) {
    WriteBytes(folder / "one.gguf", bytes);
    return DigestGguf(GgufReader::Open(folder / "one.gguf"));
  };
  const GgufData a = {"a", {2}, kF32, Floats({1, 2})};
  const GgufData b = {"b", {1}, kF32, Floats({3})};
  const std::string key = GgufU32("n", 7);
  const std::string expected = digest(GgufFile({key, GgufBool("m", true)}, {a, b}));
  EXPECT_EQ(digest(GgufFile({GgufBool("m", true), key}, {b, a})), expected);
  EXPECT_NE(digest(GgufFile({key, GgufBool("m", false)}, {a, b})), expected);
  EXPECT_NE(digest(GgufFile({key, GgufBool("m", true)}, {a, {"b", {1}, kF32, Floats({4})}})),
            expected);
  EXPECT_NE(digest(GgufFile({key, GgufBool("m", true)}, {{"a", {1, 2}, kF32, a.data}, b})),
            expected);
  WriteBytes(
      folder / "m-00001-of-00002.gguf",
      GgufFile({key, GgufBool("m", true), GgufU32("split.no", 0), GgufU32("split.count", 2)}, {b}));
  WriteBytes(folder / "m-00002-of-00002.gguf",
             GgufFile({GgufU32("split.no", 1), GgufU32("split.count", 2)}, {a}));
  EXPECT_EQ(DigestGguf(GgufReader::Open(folder / "m-00001-of-00002.gguf")), expected);
}

TEST(GgufTest, PartsThatDoNotFitTogetherAreNamed) {
  const TempFolder folder;
  const std::string first = folder / "m-00001-of-00002.gguf";
  const std::string second = folder / "m-00002-of-00002.gguf";
  const auto part = [](uint32_t no, uint32_t count, const std::string& tensor) {
    return GgufFile(
        {GgufU32("split.no", no), GgufU32("split.count", count), GgufU32("split.tensors.count", 2)},
        {{tensor, {1}, kF32, Floats({1})}});
  };
  const auto open = [&](const std::string& path) {
    return ErrorOf([&] { GgufReader::Open(path); });
  };
  EXPECT_THAT(GgufParts(first), ElementsAre(first, second));
  EXPECT_THAT(GgufParts(second), ElementsAre(second));
  WriteBytes(first, part(0, 2, "a"));
  EXPECT_THAT(open(first), AllOf(HasSubstr("part 2 of 2 is missing"), HasSubstr(second)));
  WriteBytes(second, part(1, 2, "b"));
  EXPECT_THAT(GgufReader::Open(first).Names(), ElementsAre("a", "b"));
  EXPECT_THAT(open(second), HasSubstr("is part 2 of 2; give the first part"));
  WriteBytes(second, part(0, 2, "b"));
  EXPECT_THAT(open(first), HasSubstr("does not say that it is part 2"));
  WriteBytes(second, part(1, 2, "a"));
  EXPECT_THAT(open(first), HasSubstr("tensor 'a' is in another part"));
  WriteBytes(folder / "other.gguf", part(0, 2, "a"));
  EXPECT_THAT(open(folder / "other.gguf"), HasSubstr("NAME-00001-of-00002.gguf"));
  WriteBytes(folder / "one.gguf", part(0, 1, "a"));
  EXPECT_THAT(open(folder / "one.gguf"), HasSubstr("promises 2 tensors, the parts have 1"));
}

TEST(GgufTest, AFileIsKnownByItsNameOrItsFirstBytes) {
  const TempFolder folder;
  WriteBytes(folder / "model", GoodFile());
  WriteBytes(folder / "text", "GGU");
  EXPECT_TRUE(IsGgufPath(folder / "model"));
  EXPECT_TRUE(IsGgufPath("nowhere.gguf"));
  EXPECT_FALSE(IsGgufPath(folder / "text"));
  EXPECT_FALSE(IsGgufPath(folder.path()));
  EXPECT_FALSE(IsGgufPath("nowhere"));
}

TEST(GgufTest, EveryPrefixOfAFileIsRefused) {
  const TempFolder folder;
  const std::string good = GoodFile();
  for (size_t bytes = 0; bytes < good.size() - 24; ++bytes) {  // the end is padding
    WriteBytes(folder / "cut.gguf", good.substr(0, bytes));
    EXPECT_THAT(ErrorOf([&] { GgufReader::Open(folder / "cut.gguf"); }),
                HasSubstr(folder / "cut.gguf"))
        << bytes;
  }
}

struct BadGgufFile {
  std::string name;
  std::string bytes;
  std::string message;
};

void PrintTo(const BadGgufFile& bad, std::ostream* out) {
  *out << bad.name;
}

class MalformedGgufTest : public testing::TestWithParam<BadGgufFile> {};

TEST_P(MalformedGgufTest, IsRefusedWithFileAndReason) {
  const TempFolder folder;
  WriteBytes(folder / "bad.gguf", GetParam().bytes);
  EXPECT_THAT(ErrorOf([&] { GgufReader::Open(folder / "bad.gguf"); }),
              AllOf(HasSubstr(folder / "bad.gguf"), HasSubstr(GetParam().message)));
}

INSTANTIATE_TEST_SUITE_P(
    Frame, MalformedGgufTest,
    testing::Values(
        BadGgufFile{"Empty", "", "magic: needs 4 bytes"},
        BadGgufFile{"OtherMagic", "GGML1234", "no GGUF"},
        BadGgufFile{"Version1", GgufRaw(0, 0, "", 1), "version 1 is not supported (2, 3)"},
        BadGgufFile{"Version4", GgufRaw(0, 0, "", 4), "version 4 is not supported (2, 3)"},
        BadGgufFile{"BigEndian", GgufRaw(0, 0, "", 0x03000000), "big-endian"},
        BadGgufFile{"ManyKeys", GgufRaw(0, UINT64_MAX, GgufZeros(100)), "keys in a file of"},
        BadGgufFile{"MoreKeysThanBytes", GgufRaw(0, 9, GgufZeros(100)), "9 keys in a file of"},
        BadGgufFile{"ManyTensors", GgufRaw(UINT64_MAX, 0, GgufZeros(100)), "tensors in a file of"},
        BadGgufFile{"MoreTensorsThanBytes", GgufRaw(4, 0, GgufZeros(100)),
                    "4 tensors in a file of"}),
    [](const auto& info) { return info.param.name; });

/// A file with one entry of metadata, and bytes enough behind it.
std::string OneKey(const std::string& entry) {
  return GgufRaw(0, 1, entry + GgufZeros(64));
}

std::string Value(uint32_t type, const std::string& bytes) {
  return OneKey(GgufText("k") + Raw(type) + bytes);
}

std::string Array(uint32_t type, uint64_t count) {
  return Value(9, Raw(type) + Raw(count));
}

INSTANTIATE_TEST_SUITE_P(
    Metadata, MalformedGgufTest,
    testing::Values(
        BadGgufFile{"EmptyKey", OneKey(GgufU32("", 1)), "key 0: is empty"},
        BadGgufFile{"LongKey", OneKey(GgufU32(std::string(1025, 'k'), 1)),
                    "1025 bytes, at most 1024"},
        BadGgufFile{"HugeKey", OneKey(Raw<uint64_t>(UINT64_MAX)), "at most 1024"},
        BadGgufFile{"ControlInKey", OneKey(GgufU32("a\nb", 1)), "control characters"},
        BadGgufFile{"KeyNotUtf8", OneKey(GgufU32("a\xFF", 1)), "not UTF-8"},
        BadGgufFile{"KeyTwice", GgufFile({GgufU32("k", 1), GgufU32("k", 1)}, {}),
                    "'k' is there twice"},
        BadGgufFile{"UnknownType", Value(13, ""), "k: value type 13 is unknown"},
        BadGgufFile{"BoolOfTwo", Value(7, "\x02"), "k: 2 is neither true (1) nor false (0)"},
        BadGgufFile{"HugeNumber", Value(10, Raw(UINT64_MAX)), "does not fit into 63 bits"},
        BadGgufFile{"TextLongerThanFile", Value(8, Raw<uint64_t>(1000)), "k: needs 1000 bytes"},
        BadGgufFile{"HugeText", Value(8, Raw(UINT64_MAX)),
                    "k: a text of 18446744073709551615 bytes"},
        BadGgufFile{"ArrayLongerThanFile", Array(4, 1000), "k: needs 4000 bytes"},
        BadGgufFile{"HugeArray", Array(0, UINT64_MAX), "k: 18446744073709551615 elements, at most"},
        BadGgufFile{"ArrayThatOverflows", Array(10, UINT64_MAX / 8 + 1), "elements, at most"},
        BadGgufFile{"TextsLongerThanFile", Array(8, 100), "k: needs 800 bytes"},
        BadGgufFile{"TextInArrayLongerThanFile",
                    Value(9, Raw<uint32_t>(8) + Raw<uint64_t>(1) + Raw<uint64_t>(500)),
                    "k: needs 500 bytes"},
        BadGgufFile{"ArrayOfArrays", Array(9, 1), "k: an array of arrays"},
        BadGgufFile{"ArrayOfUnknown", Array(99, 1), "k: value type 99"},
        BadGgufFile{"AlignmentOf24", GgufFile({GgufU32("general.alignment", 24)}, {}),
                    "a power of 2"},
        BadGgufFile{"AlignmentOf0", GgufFile({GgufU32("general.alignment", 0)}, {}),
                    "a power of 2"},
        BadGgufFile{"AlignmentTooLarge", GgufFile({GgufU32("general.alignment", 1U << 31)}, {}),
                    "a power of 2"},
        BadGgufFile{"AlignmentIsText", GgufFile({GgufString("general.alignment", "32")}, {}),
                    "a power of 2"}),
    [](const auto& info) { return info.param.name; });

/// A file with these tensors, listed as given, and this data.
std::string Tensors(const std::vector<std::string>& infos, size_t data_bytes) {
  std::string bytes;
  for (const std::string& info : infos) bytes += info;
  return GgufPadded(GgufRaw(infos.size(), 0, bytes)) + GgufZeros(data_bytes);
}

std::string OneGgufTensor(const std::vector<uint64_t>& dimensions, uint32_t type,
                          uint64_t offset = 0, size_t data_bytes = 64) {
  return Tensors({GgufTensorInfo("t", dimensions, type, offset)}, data_bytes);
}

INSTANTIATE_TEST_SUITE_P(
    Tensors, MalformedGgufTest,
    testing::Values(
        BadGgufFile{"EmptyName", Tensors({GgufTensorInfo("", {1}, kF32, 0)}, 32),
                    "tensor 0: is empty"},
        BadGgufFile{"LongName", Tensors({GgufTensorInfo(std::string(64, 't'), {1}, kF32, 0)}, 32),
                    "64 bytes, at most 63"},
        BadGgufFile{
            "NameTwice",
            Tensors({GgufTensorInfo("t", {1}, kF32, 0), GgufTensorInfo("t", {1}, kF32, 32)}, 64),
            "tensor 't' is there twice"},
        BadGgufFile{"NoDimensions", OneGgufTensor({}, kF32), "0 dimensions, expected 1 to 4"},
        BadGgufFile{"FiveDimensions", OneGgufTensor({1, 1, 1, 1, 1}, kF32), "5 dimensions"},
        BadGgufFile{"ZeroDimension", OneGgufTensor({4, 0}, kF32), "a dimension of 0"},
        BadGgufFile{"HugeDimension", OneGgufTensor({UINT64_MAX}, kF32),
                    "a dimension of 1844674407370955"},
        BadGgufFile{"ShapeOverflows", OneGgufTensor({1ULL << 40, 1ULL << 40}, kF32), "overflows"},
        BadGgufFile{"BytesOverflow", OneGgufTensor({1ULL << 62}, kF32), "overflows"},
        BadGgufFile{"UnknownType", OneGgufTensor({1}, 4), "element type 4 is unknown"},
        BadGgufFile{"HugeType", OneGgufTensor({1}, UINT32_MAX),
                    "element type 4294967295 is unknown"},
        BadGgufFile{"RowsOfPartsOfBlocks", OneGgufTensor({33}, kQ8_0),
                    "rows of 33 elements are no multiple of the 32 in a block of Q8_0"},
        BadGgufFile{"BeyondTheFile", OneGgufTensor({17}, kF32, 0, 64), "needs 68 bytes"},
        BadGgufFile{"FarBeyondTheFile", OneGgufTensor({1ULL << 50}, kF32), "it is cut"},
        BadGgufFile{"Gap", OneGgufTensor({8}, kF32, 32), "a gap or an overlap"},
        BadGgufFile{"HugeOffset", OneGgufTensor({8}, kF32, UINT64_MAX), "a gap or an overlap"},
        BadGgufFile{
            "Overlap",
            Tensors({GgufTensorInfo("a", {8}, kF32, 0), GgufTensorInfo("b", {8}, kF32, 0)}, 64),
            "a gap or an overlap"},
        BadGgufFile{
            "NotAligned",
            Tensors({GgufTensorInfo("a", {1}, kF32, 0), GgufTensorInfo("b", {1}, kF32, 4)}, 64),
            "is at offset 4 of the data, expected 32"},
        BadGgufFile{"BytesBehind", OneGgufTensor({8}, kF32, 0, 100), "its tensors end at"}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace puzzle
