// Reading safetensors: values, shards, digests.
#include "io/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/io/safetensors_files.h"
#include "tests/io/test_files.h"

namespace puzzle {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

template <typename T>
std::string Bytes(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

/// What the Python package safetensors 0.5.3 writes for six tensors of five types.
std::string ReferenceFile() {
  static constexpr char kHeader[] =
      R"({"__metadata__":{"format":"pt"},"ids":{"dtype":"I64","shape":[1,2],"data_offsets":[0,16]},)"
      R"("scalar":{"dtype":"F64","shape":[],"data_offsets":[16,24]},)"
      R"("none":{"dtype":"F32","shape":[0,4],"data_offsets":[24,24]},)"
      R"("w":{"dtype":"F32","shape":[2,3],"data_offsets":[24,48]},)"
      R"("brain":{"dtype":"BF16","shape":[3,1],"data_offsets":[48,54]},)"
      R"("half":{"dtype":"F16","shape":[4],"data_offsets":[54,62]}}      )";
  static constexpr char kData[] =
      "\x07\x00\x00\x00\x00\x00\x00\x00\xf9\xff\xff\xff\xff\xff\xff\xff"
      "\x00\x00\x00\x00\x00\x00\x0a\x40\x00\x00\x80\xbf\x00\x00\x00\xbf"
      "\x00\x00\x00\x00\x00\x00\x00\x3f\x00\x00\x80\x3f\x00\x00\xc0\x3f"
      "\x80\x3f\x00\xc0\x49\x40\x00\x3c\x00\xc0\xff\x7b\x01\x00";
  return SafetensorsFile(kHeader, std::string(kData, sizeof(kData) - 1));
}

class SafetensorsTest : public testing::Test {
 protected:
  SafetensorsReader OpenBytes(const std::string& bytes) const {
    WriteBytes(folder_ / "model.safetensors", bytes);
    return SafetensorsReader::Open(folder_.path());
  }

  /// A file in the folder with one-element F32 tensors of these names.
  void WriteShard(const std::string& file, const std::vector<std::string>& tensors) const {
    std::string header = "{";
    std::string data;
    for (const std::string& name : tensors) {
      const std::string begin = std::to_string(data.size());
      data += Bytes<float>({static_cast<float>(name.size())});
      header +=
          TensorEntry(name, "F32", "[1]", "[" + begin + "," + std::to_string(data.size()) + "]") +
          ",";
    }
    header.back() = '}';
    WriteBytes(folder_ / file, SafetensorsFile(header, data));
  }

  void WriteIndex(const std::string& weight_map) const {
    WriteBytes(folder_ / "model.safetensors.index.json",
               R"({"metadata":{"total_size":8},"weight_map":)" + weight_map + "}");
  }

  std::string OpenError() const {
    return ErrorOf([&] { SafetensorsReader::Open(folder_.path()); });
  }

  const TempFolder folder_;
};

TEST_F(SafetensorsTest, ReadsWhatTheReferenceImplementationWrote) {
  const SafetensorsReader reader = OpenBytes(ReferenceFile());
  EXPECT_THAT(reader.Names(), ElementsAre("brain", "half", "ids", "none", "scalar", "w"));
  EXPECT_EQ(reader.Info("w").dtype, DType::kF32);
  EXPECT_EQ(reader.Info("w").shape, Shape({2, 3}));
  EXPECT_EQ(reader.Info("ids").dtype, DType::kI64);
  EXPECT_EQ(reader.Info("scalar").shape, Shape());
  EXPECT_THAT(reader.ReadF32("w"), ElementsAre(-1, -0.5, 0, 0.5, 1, 1.5));
  EXPECT_THAT(reader.ReadF32("brain"), ElementsAre(1, -2, 3.140625));
  EXPECT_THAT(reader.ReadF32("half"), ElementsAre(1, -2, 65504, 0x1p-24f));
  EXPECT_THAT(reader.ReadF32("scalar"), ElementsAre(3.25));
  EXPECT_THAT(reader.ReadF32("none"), ElementsAre());
  int64_t ids[2];
  reader.Read("ids", ids);
  EXPECT_THAT(ids, ElementsAre(7, -7));
  EXPECT_TRUE(reader.Has("w"));
  EXPECT_FALSE(reader.Has("v"));
  EXPECT_EQ(reader.FileOf("w"), folder_ / "model.safetensors");
}

TEST_F(SafetensorsTest, OtherTypesAreNotReadAsFloats) {
  const SafetensorsReader reader = OpenBytes(ReferenceFile());
  EXPECT_THAT(ErrorOf([&] { (void)reader.ReadF32("ids"); }),
              AllOf(HasSubstr("'ids'"), HasSubstr("I64")));
}

TEST_F(SafetensorsTest, TypesThatWeLackAreListedButNotUsed) {
  const SafetensorsReader reader =
      OpenBytes(SafetensorsFile("{" + TensorEntry("q", "F8_E5M2", "[4]", "[0,4]") + "}", "abcd"));
  EXPECT_TRUE(reader.Has("q"));
  EXPECT_THAT(ErrorOf([&] { (void)reader.Info("q"); }),
              AllOf(HasSubstr("'q'"), HasSubstr("F8_E5M2")));
  EXPECT_THAT(ErrorOf([&] { (void)reader.ReadF32("q"); }), HasSubstr("F8_E5M2"));
  EXPECT_EQ(reader.TypeOf("q"), "F8_E5M2");
  EXPECT_EQ(reader.ShapeOf("q"), Shape({4}));
}

// Values of PyTorch's float8_e4m3fn.
TEST_F(SafetensorsTest, EightBitFloatsAreRead) {
  const std::string bytes = "\x38\xC0\x7E\x01\x08\x80";
  const SafetensorsReader reader =
      OpenBytes(SafetensorsFile("{" + TensorEntry("q", "F8_E4M3", "[6]", "[0,6]") + "}", bytes));
  EXPECT_THAT(reader.ReadF32("q"), ElementsAre(1, -2, 448, 0x1p-9f, 0x1p-6f, 0));
  EXPECT_TRUE(std::isnan(F32FromE4M3(0x7F)) && std::isnan(F32FromE4M3(0xFF)));
}

TEST_F(SafetensorsTest, AGitLfsPointerIsNamedForWhatItIs) {
  EXPECT_THAT(ErrorOf([&] {
                OpenBytes("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 98\n");
              }),
              AllOf(HasSubstr("Git LFS pointer"), HasSubstr("git lfs pull")));
}

TEST_F(SafetensorsTest, MissingTensorIsNamed) {
  const SafetensorsReader reader = OpenBytes(ReferenceFile());
  EXPECT_THAT(ErrorOf([&] { (void)reader.Info("lm_head.weight"); }),
              AllOf(HasSubstr(folder_.path()), HasSubstr("'lm_head.weight'")));
  EXPECT_THROW((void)reader.FileOf("x"), Error);
}

TEST_F(SafetensorsTest, NotANumberIsRefusedUnlessAllowed) {
  const SafetensorsReader reader =
      OpenBytes(SafetensorsFile("{" + TensorEntry("w", "F32", "[3]", "[0,12]") + "," +
                                    TensorEntry("huge", "F64", "[1]", "[12,20]") + "}",
                                Bytes<float>({1, 2, NAN}) + Bytes<double>({1e300})));
  EXPECT_THAT(ErrorOf([&] { (void)reader.ReadF32("w"); }),
              AllOf(HasSubstr("'w'"), HasSubstr("element 2 is nan")));
  EXPECT_TRUE(std::isnan(reader.ReadF32("w", /*check_finite=*/false)[2]));
  EXPECT_THAT(ErrorOf([&] { (void)reader.ReadF32("huge"); }), HasSubstr("element 0 is inf"));
}

TEST_F(SafetensorsTest, RowsAreReadAlone) {
  std::vector<uint16_t> bits;
  for (const float value : {1, 2, 3, 4, 5, 6}) bits.push_back(BF16FromF32(value));
  const SafetensorsReader reader =
      OpenBytes(SafetensorsFile("{" + TensorEntry("b", "BF16", "[3,2]", "[0,12]") + "," +
                                    TensorEntry("f", "F32", "[2,2]", "[12,28]") + "}",
                                Bytes(bits) + Bytes<float>({1, 2, 3, NAN})));
  std::vector<float> rows(4);
  reader.ReadRowsF32("b", 1, rows);
  EXPECT_THAT(rows, ElementsAre(3, 4, 5, 6));
  rows.resize(2);
  reader.ReadRowsF32("f", 0, rows);  // the bad row is not read
  EXPECT_THAT(rows, ElementsAre(1, 2));
  EXPECT_THAT(ErrorOf([&] { reader.ReadRowsF32("f", 1, rows); }),
              AllOf(HasSubstr("'f'"), HasSubstr("element 3 is nan")));
  EXPECT_THROW(reader.ReadRowsF32("f", 2, rows), BugError);
}

TEST_F(SafetensorsTest, StoredRowsAreReadAsTheyAreAndLookedAt) {
  const SafetensorsReader reader = OpenBytes(
      SafetensorsFile("{" + TensorEntry("f", "F32", "[2,1]", "[0,8]") + "," +
                          TensorEntry("h", "F16", "[2,1]", "[8,12]") + "," +
                          TensorEntry("b", "BF16", "[2,1]", "[12,16]") + "}",
                      Bytes<float>({1, -INFINITY}) + Bytes<uint16_t>({F16FromF32(65504), 0xFC00}) +
                          Bytes<uint16_t>({BF16FromF32(3e38F), 0x7F80})));
  for (const char* name : {"f", "h", "b"}) {
    std::vector<char> bytes(8);
    EXPECT_NO_THROW(reader.ReadStoredRows(name, 0, 1, bytes.data())) << name;
    EXPECT_THAT(ErrorOf([&] { reader.ReadStoredRows(name, 1, 1, bytes.data()); }),
                AllOf(HasSubstr(name), HasSubstr("element 1 is NaN or infinity")));
    EXPECT_THROW(reader.ReadStoredRows(name, 1, 2, bytes.data()), BugError);
  }
  std::vector<uint16_t> stored(1);
  reader.ReadStoredRows("b", 0, 1, stored.data());
  EXPECT_THAT(stored, ElementsAre(BF16FromF32(3e38F)));
}

TEST_F(SafetensorsTest, TensorsLargerThanAPieceAreWhole) {
  std::vector<uint16_t> bits((5 << 20) + 3);  // 10 MiB; converted in pieces of 4 MiB
  for (size_t i = 0; i < bits.size(); ++i) bits[i] = BF16FromF32(static_cast<float>(i % 251));
  const std::string n = std::to_string(bits.size());
  const SafetensorsReader reader = OpenBytes(SafetensorsFile(
      "{" + TensorEntry("w", "BF16", "[" + n + "]", "[0," + std::to_string(bits.size() * 2) + "]") +
          "}",
      Bytes(bits)));
  const std::vector<float> values = reader.ReadF32("w");
  for (size_t i = 0; i < bits.size(); ++i) ASSERT_EQ(values[i], static_cast<float>(i % 251)) << i;
}

TEST_F(SafetensorsTest, FilesAndFoldersThatAreMissingAreNamed) {
  EXPECT_THAT(ErrorOf([&] { SafetensorsReader::Open(folder_ / "none"); }),
              AllOf(HasSubstr(folder_ / "none"), HasSubstr("No such file")));
  EXPECT_THAT(OpenError(), AllOf(HasSubstr(folder_.path()), HasSubstr("model.safetensors")));
}

TEST_F(SafetensorsTest, AFolderWithoutThemSaysWhatIsThereInstead) {
  const auto message = [](const std::string& name, bool is_link = false) {
    const TempFolder folder;
    WriteBytes(folder / "training_args.bin", "");
    if (is_link) {
      fs::create_symlink("nowhere", folder / name);
    } else {
      WriteBytes(folder / name, "");
    }
    return ErrorOf([&] { SafetensorsReader::Open(folder.path()); });
  };
  EXPECT_THAT(message("notes.txt"), testing::EndsWith("nor model.safetensors"));
  EXPECT_THAT(message("pytorch_model.bin"),
              HasSubstr("nor model.safetensors; pytorch_model.bin is of PyTorch's own format"));
  EXPECT_THAT(message("adapter_model.safetensors"), HasSubstr("is an adapter; merge it"));
  EXPECT_THAT(message("model-00001-of-00002.safetensors"),
              HasSubstr("; model-00001-of-00002.safetensors is a part"));
  EXPECT_THAT(message("small.gguf"), HasSubstr("; small.gguf is a file of llama.cpp; give that"));
  EXPECT_THAT(message("model.safetensors", /*is_link=*/true),
              HasSubstr("; model.safetensors is a link to nothing"));
}

TEST_F(SafetensorsTest, ShardsAreFoundThroughTheIndex) {
  WriteShard("one.safetensors", {"a", "cc"});
  WriteShard("two.safetensors", {"bbb"});
  WriteShard("unrelated.safetensors", {"a", "zzzz"});
  WriteShard("model.safetensors", {"zzzz"});
  WriteIndex(R"({"a":"one.safetensors","bbb":"two.safetensors","cc":"one.safetensors"})");
  const SafetensorsReader reader = SafetensorsReader::Open(folder_.path());
  EXPECT_THAT(reader.Names(), ElementsAre("a", "bbb", "cc"));
  EXPECT_THAT(reader.ReadF32("bbb"), ElementsAre(3));
  EXPECT_EQ(reader.FileOf("cc"), folder_ / "one.safetensors");
}

TEST_F(SafetensorsTest, MissingShardIsNamed) {
  WriteIndex(R"({"a":"one.safetensors"})");
  EXPECT_THAT(OpenError(), HasSubstr(folder_ / "one.safetensors"));
}

// Programs that tie tensors leave the other's name in the index.
TEST_F(SafetensorsTest, WhatTheIndexPromisesIsMissedWhenItIsNeeded) {
  WriteShard("one.safetensors", {"a"});
  WriteIndex(R"({"a":"one.safetensors","b":"one.safetensors"})");
  const SafetensorsReader reader = SafetensorsReader::Open(folder_.path());
  EXPECT_THAT(reader.Names(), ElementsAre("a"));
  EXPECT_EQ(reader.Promised("b"), folder_ / "one.safetensors");
  EXPECT_EQ(reader.Promised("a"), "");
  EXPECT_THAT(ErrorOf([&] { (void)reader.ReadF32("b"); }),
              AllOf(HasSubstr("one.safetensors"), HasSubstr("'b': is missing")));
}

TEST_F(SafetensorsTest, ShardMustNotContainMore) {
  WriteShard("one.safetensors", {"a", "b"});
  WriteIndex(R"({"a":"one.safetensors"})");
  EXPECT_THAT(OpenError(), AllOf(HasSubstr("one.safetensors"), HasSubstr("'b': is not in")));
}

TEST_F(SafetensorsTest, TensorIsInExactlyOneShard) {
  WriteShard("one.safetensors", {"a"});
  WriteShard("two.safetensors", {"a", "b"});
  WriteIndex(R"({"a":"one.safetensors","b":"two.safetensors"})");
  EXPECT_THAT(OpenError(), AllOf(HasSubstr("'a'"), HasSubstr("one.safetensors as well")));
}

TEST_F(SafetensorsTest, TensorIsInItsOwnShard) {
  WriteShard("one.safetensors", {"b"});
  WriteShard("two.safetensors", {"a"});
  WriteIndex(R"({"a":"one.safetensors","b":"two.safetensors"})");
  EXPECT_THAT(OpenError(), AllOf(HasSubstr("'b'"), HasSubstr("belongs to 'two.safetensors'")));
}

TEST_F(SafetensorsTest, MalformedIndexIsRefused) {
  const std::vector<std::pair<std::string, std::string>> table = {
      {"", "expected a value"},
      {"[]", "\"weight_map\""},
      {"{}", "\"weight_map\""},
      {R"({"weight_map":[]})", "\"weight_map\""},
      {R"({"weight_map":{"a":1}})", "'a'"},
      {R"({"weight_map":{"a":"x","a":"y"}})", "duplicate key \"a\""},
  };
  for (const auto& [text, message] : table) {
    WriteBytes(folder_ / "model.safetensors.index.json", text);
    EXPECT_THAT(OpenError(), AllOf(HasSubstr("index.json:1:"), HasSubstr(message))) << text;
  }
}

TEST_F(SafetensorsTest, ShardNamesStayInsideTheFolder) {
  fs::create_directory(folder_ / "sub");
  fs::create_directory_symlink("/", folder_ / "root");
  for (const std::string name : {"", "/etc/passwd", "../x.safetensors", "sub/../../x", "./x",
                                 "a\\\\b", "a\\u0000b", "sub/", "root/etc/passwd"}) {
    WriteIndex("{\"a\":\"" + name + "\"}");
    EXPECT_THAT(OpenError(), HasSubstr("not a plain relative path")) << name;
  }
}

TEST_F(SafetensorsTest, ShardsMayLieInSubfoldersAndBeLinks) {
  fs::create_directories(folder_ / "sub");
  const TempFolder blobs;
  WriteShard("sub/one.safetensors", {"a"});
  fs::rename(folder_ / "sub/one.safetensors", blobs / "blob");
  fs::create_symlink(blobs / "blob", folder_ / "sub/one.safetensors");
  WriteIndex(R"({"a":"sub/one.safetensors"})");
  EXPECT_THAT(SafetensorsReader::Open(folder_.path()).ReadF32("a"), ElementsAre(1));
}

TEST_F(SafetensorsTest, DigestIgnoresShardsAndOrder) {
  WriteShard("model.safetensors", {"bbb", "a", "cc"});
  const std::string digest = DigestSafetensors(SafetensorsReader::Open(folder_.path()));
  WriteShard("one.safetensors", {"a", "cc"});
  WriteShard("two.safetensors", {"bbb"});
  WriteIndex(R"({"a":"one.safetensors","bbb":"two.safetensors","cc":"one.safetensors"})");
  EXPECT_EQ(DigestSafetensors(SafetensorsReader::Open(folder_.path())), digest);
}

TEST_F(SafetensorsTest, DigestCoversNamesTypesShapesAndBytes) {
  const auto digest = [&](const std::string& name, const std::string& dtype,
                          const std::string& shape, const std::string& data) {
    return DigestSafetensors(
        OpenBytes(SafetensorsFile("{" + TensorEntry(name, dtype, shape, "[0,8]") + "}", data)));
  };
  const std::string digest_of_a = digest("a", "F32", "[2]", "12345678");
  EXPECT_EQ(digest("a", "F32", "[2]", "12345678"), digest_of_a);
  EXPECT_NE(digest("b", "F32", "[2]", "12345678"), digest_of_a);
  EXPECT_NE(digest("a", "U32", "[2]", "12345678"), digest_of_a);
  EXPECT_NE(digest("a", "F32", "[2,1]", "12345678"), digest_of_a);
  EXPECT_NE(digest("a", "F32", "[2]", "12345679"), digest_of_a);
}

TEST_F(SafetensorsTest, TrainedModelsOpen) {
  PUZZLE_REQUIRE_DATA("models");
  const auto reader = SafetensorsReader::Open(DataPath("models/stories260K"));
  int64_t parameters = 0;
  for (const std::string& name : reader.Names()) {
    parameters += static_cast<int64_t>(reader.ReadF32(name).size());
  }
  EXPECT_EQ(parameters, 260'032);
}

}  // namespace
}  // namespace puzzle
