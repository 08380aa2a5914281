// Malformed safetensors files: each is refused with a message that names file and tensor.
#include "io/safetensors_header.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "io/safetensors.h"
#include "tests/io/safetensors_files.h"
#include "tests/io/test_files.h"

namespace puzzle {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string Zeros(size_t bytes) {
  return std::string(bytes, '\0');
}

/// A file with one tensor "t" of the given declaration.
std::string OneTensor(const std::string& dtype, const std::string& shape,
                      const std::string& offsets, size_t data_bytes) {
  return SafetensorsFile("{" + TensorEntry("t", dtype, shape, offsets) + "}", Zeros(data_bytes));
}

/// A file with tensors "a" and "b" of two floats each.
std::string TwoTensors(const std::string& offsets_a, const std::string& offsets_b,
                       size_t data_bytes) {
  return SafetensorsFile("{" + TensorEntry("a", "F32", "[2]", offsets_a) + "," +
                             TensorEntry("b", "F32", "[2]", offsets_b) + "}",
                         Zeros(data_bytes));
}

std::string WithLength(uint64_t length, const std::string& rest) {
  return std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + rest;
}

struct BadFile {
  std::string name;
  std::string bytes;
  std::string message;
};

void PrintTo(const BadFile& bad, std::ostream* out) {
  *out << bad.name;
}

class MalformedSafetensorsTest : public testing::TestWithParam<BadFile> {};

TEST_P(MalformedSafetensorsTest, IsRefusedWithFileAndReason) {
  const TempFolder folder;
  WriteBytes(folder / "bad.safetensors", GetParam().bytes);
  EXPECT_THAT(ErrorOf([&] { SafetensorsReader::Open(folder / "bad.safetensors"); }),
              AllOf(HasSubstr(folder / "bad.safetensors"), HasSubstr(GetParam().message)));
}

const char kLayout[] = "[0,8]";

INSTANTIATE_TEST_SUITE_P(
    Frame, MalformedSafetensorsTest,
    testing::Values(
        BadFile{"Empty", "", "too few"}, BadFile{"CutInLength", Zeros(7), "too few"},
        BadFile{"NoHeader", WithLength(0, ""), "does not begin with '{'"},
        BadFile{"HeaderLongerThanFile", WithLength(100, "{}"),
                "header of 100 bytes in a file of 10"},
        BadFile{"HeaderOverTheLimit", WithLength(100'000'001, "{}"), "at most 100000000"},
        BadFile{"HeaderLengthOverflows", WithLength(UINT64_MAX, "{}"), "at most 100000000"},
        BadFile{"HeaderIsNotJson", SafetensorsFile("hello", ""), "does not begin with '{'"},
        BadFile{"HeaderIsAnArray", SafetensorsFile("[]", ""), "does not begin with '{'"},
        BadFile{"HeaderBeginsWithBlank", SafetensorsFile(" {}", ""), "does not begin with '{'"},
        BadFile{"HeaderIsCut", SafetensorsFile("{\"t\":", ""), "header:1:6: expected a value"},
        BadFile{"HeaderHasComment", SafetensorsFile("{}//", ""), "header:1:3: '/' after the end"},
        BadFile{"HeaderIsNotUtf8", SafetensorsFile("{\"\xFF\":{}}", ""), "not valid UTF-8"},
        BadFile{"HeaderIsTooDeep", SafetensorsFile("{\"t\":[[[[[[[[[]]]]]]]]]}", ""),
                "nested more"},
        BadFile{"TextAfterHeader", SafetensorsFile("{}x", ""), "'x' after the end"},
        BadFile{"DuplicateNames",
                SafetensorsFile("{" + TensorEntry("t", "F32", "[2]", kLayout) + "," +
                                    TensorEntry("t", "F32", "[2]", "[8,16]") + "}",
                                Zeros(16)),
                "duplicate key \"t\""}),
    [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Declaration, MalformedSafetensorsTest,
    testing::Values(
        BadFile{"TensorIsNotAnObject", SafetensorsFile("{\"t\":1}", ""), "'t': not an object"},
        BadFile{"EmptyName",
                SafetensorsFile("{" + TensorEntry("", "F32", "[2]", kLayout) + "}", Zeros(8)),
                "empty name"},
        BadFile{
            "ControlCharacterInName",
            SafetensorsFile("{" + TensorEntry("a\\u0000b", "F32", "[2]", kLayout) + "}", Zeros(8)),
            "control character in tensor name \"a\\u0000b\""},
        BadFile{
            "LongName",
            SafetensorsFile("{" + TensorEntry(std::string(1025, 'n'), "F32", "[2]", kLayout) + "}",
                            Zeros(8)),
            "name of 1025 bytes"},
        BadFile{"NoDtype", SafetensorsFile(R"({"t":{"shape":[],"data_offsets":[0,4]}})", Zeros(4)),
                "'t': \"dtype\" is missing"},
        BadFile{"NoShape",
                SafetensorsFile(R"({"t":{"dtype":"F32","data_offsets":[0,4]}})", Zeros(4)),
                "'t': \"shape\" is missing"},
        BadFile{"NoOffsets", SafetensorsFile(R"({"t":{"dtype":"F32","shape":[]}})", Zeros(4)),
                "'t': \"data_offsets\" is missing"},
        BadFile{"DtypeIsNumber",
                SafetensorsFile(R"({"t":{"dtype":32,"shape":[],"data_offsets":[0,4]}})", Zeros(4)),
                "'t': dtype is not a string"},
        BadFile{"UnknownDtype", OneTensor("F23", "[2]", kLayout, 8), "'t': unknown dtype 'F23'"},
        BadFile{"LowerCaseDtype", OneTensor("f32", "[2]", kLayout, 8), "unknown dtype 'f32'"},
        BadFile{"ShapeIsNumber", OneTensor("F32", "2", kLayout, 8), "shape is not an array"},
        BadFile{"NegativeDimension", OneTensor("F32", "[-2]", kLayout, 8), "shape holds -2"},
        BadFile{"FractionalDimension", OneTensor("F32", "[2.0]", kLayout, 8), "shape holds 2.0"},
        BadFile{"TextDimension", OneTensor("F32", "[\"2\"]", kLayout, 8), "shape holds \"2\""},
        BadFile{"DimensionOver63Bits", OneTensor("F32", "[9223372036854775808]", kLayout, 8),
                "shape holds 9223372036854775808"},
        BadFile{"DimensionOver64Bits", OneTensor("F32", "[18446744073709551616]", kLayout, 8),
                "shape holds 1.8446744073709552e+19"},
        BadFile{"ShapeProductOverflows", OneTensor("F32", "[4294967296,4294967298]", kLayout, 8),
                "too many elements"},
        BadFile{"ShapeProductWrapsToTheSize",
                OneTensor("U8", "[4294967296,4294967296,8]", kLayout, 8), "too many elements"},
        BadFile{"EmptyShapeHidesOverflow",
                OneTensor("U8", "[0,9223372036854775807,9223372036854775807]", "[0,0]", 0),
                "too many elements"},
        BadFile{"RankTooLarge", OneTensor("F32", "[1,1,1,1,1,1,1,1,2]", kLayout, 8),
                "shape has 9 entries"},
        BadFile{"HalfAByte", OneTensor("F4", "[3]", "[0,1]", 1), "not a whole number of bytes"}),
    [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Offsets, MalformedSafetensorsTest,
    testing::Values(
        BadFile{"OneOffset", OneTensor("F32", "[2]", "[8]", 8), "does not have two entries"},
        BadFile{"ThreeOffsets", OneTensor("F32", "[2]", "[0,8,16]", 8), "has 3 entries"},
        BadFile{"NegativeOffset", OneTensor("F32", "[2]", "[-8,0]", 8), "data_offsets holds -8"},
        BadFile{"FractionalOffset", OneTensor("F32", "[2]", "[0,8.0]", 8),
                "data_offsets holds 8.0"},
        BadFile{"ReversedOffsets", OneTensor("F32", "[2]", "[8,0]", 8), "end before they begin"},
        BadFile{"OffsetsTooFar", OneTensor("F32", "[2]", "[0,16]", 16), "needs 8"},
        BadFile{"OffsetsTooNear", OneTensor("F32", "[2]", "[0,4]", 4), "needs 8"},
        BadFile{"EndBehindTheFile", OneTensor("F32", "[2]", kLayout, 7),
                "'t': ends at 8, the file has 7 bytes"},
        BadFile{"HugeOffsets",
                OneTensor("U8", "[9]", "[9223372036854775798,9223372036854775807]", 9),
                "leaving a hole"},
        BadFile{"HoleAtTheStart", OneTensor("F32", "[2]", "[4,12]", 12),
                "'t': begins at 4, leaving a hole after"},
        BadFile{"HoleBetween", TwoTensors("[0,8]", "[12,20]", 20),
                "'b': begins at 12, leaving a hole after"},
        BadFile{"Overlap", TwoTensors("[0,8]", "[4,12]", 12), "'b': begins at 4, overlapping"},
        BadFile{"SameBytesTwice", TwoTensors("[0,8]", "[0,8]", 8), "begins at 0, overlapping"},
        BadFile{"TrailingBytes", TwoTensors("[0,8]", "[8,16]", 17),
                "1 bytes after the last tensor"},
        BadFile{"BytesWithoutTensors", SafetensorsFile("{}", "x"),
                "1 bytes after the last tensor"}),
    [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Metadata, MalformedSafetensorsTest,
    testing::Values(BadFile{"MetadataIsNotAnObject", SafetensorsFile(R"({"__metadata__":[]})", ""),
                            "'__metadata__': not an object"},
                    BadFile{"MetadataIsNotText",
                            SafetensorsFile(R"({"__metadata__":{"format":1}})", ""),
                            "'__metadata__': value of \"format\" is not a string"}),
    [](const auto& info) { return info.param.name; });

class SafetensorsHeaderTest : public testing::Test {
 protected:
  std::vector<SafetensorsTensor> Read(const std::string& bytes) const {
    WriteBytes(folder_ / "file", bytes);
    return ReadSafetensorsHeader(InputFile(folder_ / "file"));
  }

  const TempFolder folder_;
};

TEST_F(SafetensorsHeaderTest, TensorsComeInTheOrderOfTheirBytes) {
  const std::string header = "{" + TensorEntry("late", "F32", "[1]", "[2,6]") + "," +
                             TensorEntry("none", "F32", "[0,3]", "[2,2]") + "," +
                             TensorEntry("early", "U8", "[2]", "[0,2]") + "}   ";
  const auto tensors = Read(SafetensorsFile(header, Zeros(6)));
  ASSERT_EQ(tensors.size(), 3u);
  EXPECT_EQ(tensors[0].name, "early");
  EXPECT_EQ(tensors[0].offset, 8 + header.size());
  EXPECT_EQ(tensors[1].name, "none");
  EXPECT_EQ(tensors[1].bytes, 0u);
  EXPECT_EQ(tensors[2].name, "late");
  EXPECT_EQ(tensors[2].offset, 8 + header.size() + 2);
  EXPECT_EQ(tensors[2].dtype, DType::kF32);
}

TEST_F(SafetensorsHeaderTest, EveryTypeOfTheFormatHasItsSize) {
  const std::vector<std::pair<std::string, int>> bits = {
      {"BOOL", 8},    {"U8", 8},         {"I8", 8},          {"I16", 16},    {"U16", 16},
      {"I32", 32},    {"U32", 32},       {"I64", 64},        {"U64", 64},    {"F16", 16},
      {"BF16", 16},   {"F32", 32},       {"F64", 64},        {"C64", 64},    {"F8_E4M3", 8},
      {"F8_E5M2", 8}, {"F8_E8M0", 8},    {"F8_E4M3FNUZ", 8}, {"F6_E2M3", 6}, {"F6_E3M2", 6},
      {"F4", 4},      {"F8_E5M2FNUZ", 8}};
  for (const auto& [dtype, n] : bits) {
    const auto bytes = static_cast<size_t>(n);  // of eight elements
    const auto tensors = Read(OneTensor(dtype, "[8]", "[0," + std::to_string(bytes) + "]", bytes));
    EXPECT_EQ(tensors.at(0).bytes, bytes) << dtype;
    EXPECT_EQ(tensors.at(0).dtype_name, dtype);
  }
}

TEST_F(SafetensorsHeaderTest, FileCutAnywhereIsRefused) {
  const std::string whole = TwoTensors("[0,8]", "[8,16]", 16);
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THROW(Read(whole.substr(0, size)), Error) << size;
  }
  EXPECT_EQ(Read(whole).size(), 2u);
}

TEST_F(SafetensorsHeaderTest, DamagedFilesNeverCrash) {
  const std::string whole = TwoTensors("[0,8]", "[8,16]", 16);
  std::mt19937 random(5);
  for (int i = 0; i < 3000; ++i) {
    std::string damaged = whole;
    for (auto n = 1 + random() % 3; n > 0; --n) {
      damaged[random() % damaged.size()] = static_cast<char>(random());
    }
    try {
      for (const SafetensorsTensor& tensor : Read(damaged)) {
        EXPECT_LE(tensor.offset + tensor.bytes, damaged.size());
      }
    } catch (const Error& e) {
      EXPECT_THAT(e.what(), HasSubstr(folder_ / "file"));
    }
  }
}

}  // namespace
}  // namespace puzzle
