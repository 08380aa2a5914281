// Writing GGUF files: byte for byte as the tests build them, read back as they were given, and
// nothing left of what is refused.
#include "io/gguf_write.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "io/gguf.h"
#include "io/safetensors.h"
#include "tests/io/gguf_files.h"
#include "tests/io/test_files.h"

namespace puzzle {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pointee;

const GgmlType* TypeNamed(const char* name) {
  return FindWritableGgmlType(name);
}

std::string BytesOfFloats(const std::vector<float>& values) {
  std::string bytes;
  for (const float value : values) bytes += Raw(value);
  return bytes;
}

/// Values as rows, which some have as `stored` bytes.
class RowsOf final : public RowsToWrite {
 public:
  RowsOf(std::vector<float> values, size_t columns, std::vector<unsigned char> stored)
      : values_(std::move(values)), columns_(columns), stored_(std::move(stored)) {}
  bool ReadStored(int64_t first, int64_t count, DType type, void* out) override {
    if (stored_.empty()) return false;
    const size_t row_bytes = columns_ * ElementSize(type);
    std::memcpy(out, stored_.data() + static_cast<size_t>(first) * row_bytes,
                static_cast<size_t>(count) * row_bytes);
    return true;
  }
  void ReadValues(int64_t first, int64_t count, float* out) override {
    std::copy_n(values_.begin() + first * static_cast<int64_t>(columns_),
                static_cast<size_t>(count) * columns_, out);
  }

 private:
  std::vector<float> values_;
  size_t columns_;
  std::vector<unsigned char> stored_;
};

class GgufWriteTest : public testing::Test {
 protected:
  /// The message of what a file of one tensor is refused with; nothing of it may be left.
  [[nodiscard]] std::string Refusal(const GgufMetadata& metadata, const GgufTensorToWrite& tensor,
                                    const std::vector<float>& values = {}) const {
    const std::string message = ErrorOf([&] {
      GgufWriter writer(path_, metadata, {tensor});
      writer.Append(values);
      (void)writer.Commit();
    });
    EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
    return message;
  }

  TempFolder folder_;
  std::string path_ = folder_ / "m.gguf";
};

TEST_F(GgufWriteTest, TheFileIsWhatTheFormatSays) {
  const std::vector<float> matrix = {1, 2, 3, 4, 5, 6}, vector = {7, 8, 9};
  GgufWriter writer(path_,
                    {{"general.architecture", std::string("llama")},
                     {"n", int64_t{7}},
                     {"eps", 1e-5},
                     {"yes", true},
                     {"names", std::vector<std::string>{"a", "", "\xC3\xA4"}},
                     {"none", std::vector<std::string>{}},
                     {"types", std::vector<int64_t>{1, -2}},
                     {"scores", std::vector<double>{0.5, -1.0}}},
                    {{"b", {2, 3}, TypeNamed("F32")}, {"a", {3}, TypeNamed("F32")}});
  writer.Append(matrix);
  writer.Append(vector);
  EXPECT_FALSE(std::filesystem::exists(path_));
  const uint64_t bytes = writer.Commit();
  EXPECT_EQ(bytes, std::filesystem::file_size(path_));
  EXPECT_EQ(
      ReadBytes(path_),
      GgufFile(
          {GgufString("general.architecture", "llama"), GgufU32("n", 7), GgufF32("eps", 1e-5F),
           GgufBool("yes", true), GgufStrings("names", {"a", "", "\xC3\xA4"}),
           GgufStrings("none", {}), GgufI32s("types", {1, -2}), GgufF32s("scores", {0.5F, -1.0F})},
          {{"b", {3, 2}, 0, BytesOfFloats(matrix)}, {"a", {3}, 0, BytesOfFloats(vector)}}));
}

TEST_F(GgufWriteTest, EveryTypeIsReadBack) {
  // A row of whole numbers from -8 to 7: every type has them.
  std::vector<float> values(64);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 16) - 8.0F;
  for (const char* name : {"F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0"}) {
    GgufWriter writer(path_, {}, {{"t", {2, 32}, TypeNamed(name)}});
    writer.Append(values);
    (void)writer.Commit();
    const GgufReader reader = GgufReader::Open(path_);
    EXPECT_EQ(reader.TypeOf("t"), name);
    EXPECT_EQ(reader.ShapeOf("t"), (Shape{2, 32}));
    std::vector<float> read(64);
    reader.ReadF32("t", read);
    EXPECT_EQ(read, values) << name;
  }
}

TEST_F(GgufWriteTest, ATensorOfSeveralPiecesIsWhole) {
  std::vector<float> values((1 << 15) * 2 + 5);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  GgufWriter writer(path_, {},
                    {{"t", {static_cast<int64_t>(values.size())}, TypeNamed("F32")},
                     {"u", {1}, TypeNamed("F16")}});
  writer.Append(values);
  writer.Append(std::vector<float>{0.5F});
  (void)writer.Commit();
  const GgufReader reader = GgufReader::Open(path_);
  std::vector<float> read(values.size()), one(1);
  reader.ReadF32("t", read);
  reader.ReadF32("u", one);
  EXPECT_EQ(read, values);
  EXPECT_THAT(one, ElementsAre(0.5F));
}

TEST_F(GgufWriteTest, WhatReadersRefuseIsRefusedFirst) {
  const GgmlType* const f32 = TypeNamed("F32");
  EXPECT_THAT(
      Refusal({}, {"t", {2, 33}, TypeNamed("Q8_0")}),
      AllOf(HasSubstr("tensor t"), HasSubstr("rows of 33 elements are no multiple of the 32 "
                                             "in a block of Q8_0")));
  EXPECT_THAT(Refusal({}, {"t", {2, 0}, f32}), HasSubstr("no tensors of shape [2, 0]"));
  EXPECT_THAT(Refusal({}, {"t", {}, f32}), HasSubstr("no tensors of shape []"));
  EXPECT_THAT(Refusal({}, {"t", {1, 1, 1, 1, 1}, f32}), HasSubstr("[1, 1, 1, 1, 1]"));
  EXPECT_THAT(Refusal({}, {std::string(64, 't'), {1}, f32}), HasSubstr("expected 1 to 63 bytes"));
  EXPECT_THAT(Refusal({}, {"", {1}, f32}), HasSubstr("expected 1 to 63 bytes"));
  EXPECT_THAT(Refusal({}, {"a\n", {1}, f32}), HasSubstr("without control characters"));
  EXPECT_THAT(Refusal({{"", true}}, {"t", {1}, f32}), HasSubstr("expected 1 to 1024 bytes"));
  EXPECT_THAT(Refusal({{"k", true}, {"k", false}}, {"t", {1}, f32}),
              HasSubstr("\"k\": is there twice"));
  EXPECT_THAT(Refusal({{"k", int64_t{-1}}}, {"t", {1}, f32}), HasSubstr("-1 does not fit"));
  EXPECT_THAT(Refusal({{"k", int64_t{1} << 32}}, {"t", {1}, f32}), HasSubstr("does not fit"));
  EXPECT_THAT(Refusal({{"k", std::vector<int64_t>{int64_t{1} << 31}}}, {"t", {1}, f32}),
              HasSubstr("does not fit"));
  EXPECT_THAT(Refusal({{"k", 1e300}}, {"t", {1}, f32}), HasSubstr("does not fit into a float"));
  EXPECT_THAT(ErrorOf([&] {
                GgufWriter(path_, {}, {{"t", {1}, TypeNamed("F32")}, {"t", {1}, TypeNamed("F32")}});
              }),
              HasSubstr("tensor t: is there twice"));
}

TEST_F(GgufWriteTest, ValuesThatATypeCannotHoldAreRefusedWithTheirPlace) {
  constexpr float kInfinite = std::numeric_limits<float>::infinity();
  EXPECT_THAT(Refusal({}, {"t", {3}, TypeNamed("F32")}, {1, 2, kInfinite}),
              HasSubstr("tensor t: element 2 is inf"));
  EXPECT_THAT(Refusal({}, {"t", {2}, TypeNamed("F16")}, {1, 70000}),
              HasSubstr("tensor t: element 1 is 70000, too large for F16"));
  EXPECT_THAT(Refusal({}, {"t", {2}, TypeNamed("BF16")}, {1, std::numeric_limits<float>::max()}),
              HasSubstr("too large for BF16"));
  for (const char* name : {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"})
    EXPECT_THAT(Refusal({}, {"t", {1, 32}, TypeNamed(name)}, std::vector<float>(32, 1e30F)),
                HasSubstr(std::string("too large for ") + name));
}

TEST_F(GgufWriteTest, AFileThatIsThereStaysUntilTheNewOneIsWhole) {
  WriteBytes(path_, "old");
  {
    GgufWriter writer(path_, {}, {{"t", {1}, TypeNamed("F32")}});
    writer.Append(std::vector<float>{1});
  }
  EXPECT_EQ(ReadBytes(path_), "old");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_.path()), {}), 1);
  EXPECT_THAT(ErrorOf([&] { GgufWriter(folder_ / "no/m.gguf", {}, {}); }), HasSubstr("no/m.gguf"));
}

TEST_F(GgufWriteTest, MoreOrFewerTensorsThanAnnouncedAreABug) {
  GgufWriter writer(path_, {}, {{"t", {2}, TypeNamed("F32")}});
  EXPECT_THROW(writer.Append(std::vector<float>{1, 2, 3}), BugError);
  writer.Append(std::vector<float>{1});
  EXPECT_THROW((void)writer.Commit(), BugError);
  writer.Append(std::vector<float>{2});
  EXPECT_THROW(writer.Append(std::vector<float>{1}), BugError);
  RowsOf rows({1}, 1, {});
  EXPECT_THROW(writer.AppendRows(rows), BugError);
}

TEST_F(GgufWriteTest, PiecesAndRowsMakeTheSameFile) {
  constexpr int64_t kRows = 9000;  // more than are fetched at a time
  std::vector<float> values(kRows * 32);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>((i + i / 32) % 16) - 8.0F;
  const auto file = [&](const GgmlType* type, const auto& write) {
    GgufWriter writer(path_, {}, {{"t", {kRows, 32}, type}, {"u", {1, 32}, type}});
    write(writer);
    writer.Append(std::span<const float>(values).first(32));
    (void)writer.Commit();
    return ReadBytes(path_);
  };
  for (const char* name : {"F32", "F16", "BF16", "Q4_1"}) {
    const GgmlType* const type = TypeNamed(name);
    const std::string whole = file(type, [&](GgufWriter& writer) { writer.Append(values); });
    EXPECT_TRUE(file(type,
                     [&](GgufWriter& writer) {
                       for (size_t first = 0; first < values.size(); first += 3200)
                         writer.Append(std::span<const float>(values).subspan(first, 3200));
                     }) == whole)
        << name;
    std::vector<unsigned char> blocks(values.size() / type->block_elements * type->block_bytes);
    type->quantise(values.data(), values.size() / type->block_elements, blocks.data());
    for (const auto& stored : {std::vector<unsigned char>(), blocks}) {
      RowsOf rows(values, 32, stored);  // Q4_1 is no type of arrays: its blocks are not asked for
      EXPECT_TRUE(file(type, [&](GgufWriter& writer) { writer.AppendRows(rows); }) == whole)
          << name << (stored.empty() ? "" : " as stored");
    }
    const GgufReader reader = GgufReader::Open(path_);
    std::vector<float> rows(64);
    reader.ReadRowsF32("t", 1, rows);
    EXPECT_TRUE(std::equal(rows.begin(), rows.end(), values.begin() + 32)) << name;
  }
}

TEST_F(GgufWriteTest, WhatIsRefusedInALaterPieceIsNamedByItsPlaceInTheTensor) {
  GgufWriter writer(path_, {}, {{"t", {4}, TypeNamed("F32")}});
  writer.Append(std::vector<float>{1, 2});
  EXPECT_THAT(ErrorOf([&] {
                writer.Append(std::vector<float>{3, NAN});
              }),
              HasSubstr("tensor t: element 3 is nan"));
  std::vector<float> values(300'000, 1.0F);
  values[299'999] = 70000.0F;
  RowsOf rows(values, 1, {});
  EXPECT_THAT(ErrorOf([&] {
                GgufWriter other(path_, {}, {{"t", {300'000, 1}, TypeNamed("F16")}});
                other.AppendRows(rows);
              }),
              HasSubstr("tensor t: element 299999 is 70000, too large for F16"));
}

}  // namespace
}  // namespace puzzle
