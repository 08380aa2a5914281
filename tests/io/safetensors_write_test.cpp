// Writing safetensors: the bytes of the file, shards, interrupted writes, round trips.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "io/safetensors.h"
#include "tests/io/test_files.h"

namespace puzzle {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

/// The header of a file, checked for its padding.
nlohmann::json HeaderOf(const std::string& path) {
  const std::string bytes = ReadBytes(path);
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof(length));
  EXPECT_EQ(length % 8, 0u);
  return nlohmann::json::parse(bytes.substr(8, length));
}

class WriteSafetensorsTest : public testing::Test {
 protected:
  const TempFolder temp_;
  const std::string folder_ = temp_ / "checkpoint";
  const std::vector<float> values_ = {1, -2, 0.5, 3, 4, 5};
};

TEST_F(WriteSafetensorsTest, LargeElementsComeFirstThenNames) {
  WriteSafetensors(folder_, {{"b", {3}, values_.data(), DType::kBF16},
                             {"z", {2, 3}, values_.data(), DType::kF32},
                             {"a", {2}, values_.data(), DType::kF16},
                             {"c", {}, values_.data(), DType::kF32}});
  const nlohmann::json expected = {
      {"__metadata__", {{"format", "pt"}}},
      {"c", {{"dtype", "F32"}, {"shape", nlohmann::json::array()}, {"data_offsets", {0, 4}}}},
      {"z", {{"dtype", "F32"}, {"shape", {2, 3}}, {"data_offsets", {4, 28}}}},
      {"a", {{"dtype", "F16"}, {"shape", {2}}, {"data_offsets", {28, 32}}}},
      {"b", {{"dtype", "BF16"}, {"shape", {3}}, {"data_offsets", {32, 38}}}},
  };
  EXPECT_EQ(HeaderOf(folder_ + "/model.safetensors"), expected);
  const auto reader = SafetensorsReader::Open(folder_);
  EXPECT_THAT(reader.ReadF32("a"), ElementsAre(1, -2));
  EXPECT_THAT(reader.ReadF32("b"), ElementsAre(1, -2, 0.5));
  EXPECT_THAT(reader.ReadF32("c"), ElementsAre(1));
  EXPECT_EQ(reader.ReadF32("z"), values_);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
}

TEST_F(WriteSafetensorsTest, RandomTensorsSurvive) {
  std::mt19937 random(11);
  std::normal_distribution<float> normal;
  for (int round = 0; round < 50; ++round) {
    std::vector<std::vector<float>> data(random() % 8);
    std::vector<TensorToWrite> tensors;
    for (size_t i = 0; i < data.size(); ++i) {
      Shape shape(random() % 4);
      for (int64_t& dim : shape) dim = static_cast<int64_t>(random() % 6);
      data[i].resize(static_cast<size_t>(NumElements(shape)));
      // Multiples of 1/64 below 4 are exact in every type.
      for (float& v : data[i]) v = std::clamp(std::round(normal(random) * 64) / 64, -1.f, 1.f);
      const DType types[] = {DType::kF32, DType::kF16, DType::kBF16};
      tensors.push_back({"layer." + std::to_string(i), shape, data[i].data(), types[random() % 3]});
    }
    fs::remove_all(folder_);
    WriteSafetensors(folder_, tensors, 1 + random() % 400);
    const auto reader = SafetensorsReader::Open(folder_);
    EXPECT_EQ(reader.Names().size(), tensors.size());
    for (size_t i = 0; i < tensors.size(); ++i) {
      EXPECT_EQ(reader.Info(tensors[i].name).shape, tensors[i].shape);
      EXPECT_EQ(reader.Info(tensors[i].name).dtype, tensors[i].stored);
      EXPECT_EQ(reader.ReadF32(tensors[i].name), data[i]);
    }
  }
}

/// Rows of numbers, some of which are at hand as they are stored; counts what it was asked for.
class CountedRows final : public RowsToWrite {
 public:
  CountedRows(const std::vector<float>& values, int64_t columns, int64_t stored_before)
      : values_(values), columns_(columns), stored_before_(stored_before) {}
  bool ReadStored(int64_t first, int64_t count, DType type, void* out) override {
    EXPECT_EQ(type, DType::kBF16);
    if (first >= stored_before_) return false;
    for (int64_t i = 0; i < count * columns_; ++i)
      static_cast<uint16_t*>(out)[i] =
          BF16FromF32(values_[static_cast<size_t>(first * columns_ + i)]);
    Count(first, count);
    return true;
  }
  void ReadValues(int64_t first, int64_t count, float* out) override {
    std::copy_n(values_.begin() + first * columns_, count * columns_, out);
    Count(first, count);
  }
  int64_t next = 0, most = 0;

 private:
  void Count(int64_t first, int64_t count) {
    EXPECT_EQ(first, next) << "in order, each once";
    next = first + count;
    most = std::max(most, count);
  }
  const std::vector<float>& values_;
  int64_t columns_, stored_before_;
};

TEST_F(WriteSafetensorsTest, RowsAreFetchedSomeAtATime) {
  constexpr int64_t kRows = 5000, kColumns = 700;  // 3.5 million
  std::vector<float> values(kRows * kColumns);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 1009) / 7;
  WriteSafetensors(folder_, {{"w", {kRows, kColumns}, values.data(), DType::kBF16}});
  const std::string expected = ReadBytes(folder_ + "/model.safetensors");
  for (const int64_t stored_before : {int64_t{0}, kRows / 2, kRows}) {
    const auto rows = std::make_shared<CountedRows>(values, kColumns, stored_before);
    WriteSafetensors(folder_, {{"w", {kRows, kColumns}, nullptr, DType::kBF16, rows}});
    EXPECT_TRUE(ReadBytes(folder_ + "/model.safetensors") == expected) << stored_before;
    EXPECT_EQ(rows->next, kRows);
    EXPECT_LE(rows->most * kColumns, 1 << 20);
  }
}

TEST_F(WriteSafetensorsTest, AScalarAndARowThatIsLargeAreRowsAsWell) {
  std::vector<float> values((1 << 20) + 5);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 13);
  const auto columns = static_cast<int64_t>(values.size());
  const auto row = std::make_shared<CountedRows>(values, columns, 0);
  const auto scalar = std::make_shared<CountedRows>(values, 1, 0);
  const auto none = std::make_shared<CountedRows>(values, 4, 0);
  WriteSafetensors(folder_, {{"row", {1, columns}, nullptr, DType::kBF16, row},
                             {"scalar", {}, nullptr, DType::kBF16, scalar},
                             {"none", {0, 4}, nullptr, DType::kBF16, none}});
  const auto reader = SafetensorsReader::Open(folder_);
  EXPECT_EQ(reader.ReadF32("row"), values);
  EXPECT_THAT(reader.ReadF32("scalar"), ElementsAre(0));
  EXPECT_THAT(reader.ReadF32("none"), ElementsAre());
  EXPECT_EQ(none->next, 0);
}

TEST_F(WriteSafetensorsTest, ShardsRespectTheLimitAndTheOrderGiven) {
  WriteSafetensors(folder_,
                   {{"z", {2}, values_.data()},
                    {"y", {2}, values_.data()},
                    {"large", {6}, values_.data()},
                    {"a", {1}, values_.data()}},
                   16);
  const auto reader = SafetensorsReader::Open(folder_);
  EXPECT_EQ(reader.FileOf("z"), folder_ + "/model-00001-of-00003.safetensors");
  EXPECT_EQ(reader.FileOf("y"), folder_ + "/model-00001-of-00003.safetensors");
  EXPECT_EQ(reader.FileOf("large"), folder_ + "/model-00002-of-00003.safetensors");
  EXPECT_EQ(reader.FileOf("a"), folder_ + "/model-00003-of-00003.safetensors");
  const auto index = nlohmann::json::parse(ReadBytes(folder_ + "/model.safetensors.index.json"));
  EXPECT_EQ(index["metadata"]["total_size"], 44);
  EXPECT_EQ(index["weight_map"].size(), 4u);
}

TEST_F(WriteSafetensorsTest, ShardedAndSingleHaveOneDigest) {
  const std::vector<TensorToWrite> tensors = {{"a", {2}, values_.data()},
                                              {"b", {3}, values_.data(), DType::kBF16}};
  WriteSafetensors(folder_, tensors);
  const std::string digest = DigestSafetensors(SafetensorsReader::Open(folder_));
  WriteSafetensors(folder_, tensors, 1);
  EXPECT_FALSE(fs::exists(folder_ + "/model.safetensors"));
  EXPECT_EQ(DigestSafetensors(SafetensorsReader::Open(folder_)), digest);
  WriteSafetensors(folder_, tensors);
  EXPECT_FALSE(fs::exists(folder_ + "/model.safetensors.index.json"));
  EXPECT_EQ(DigestSafetensors(SafetensorsReader::Open(folder_)), digest);
}

TEST_F(WriteSafetensorsTest, EqualTensorsGiveEqualBytes) {
  WriteSafetensors(folder_, {{"a", {2}, values_.data()}, {"b", {1}, values_.data()}});
  const std::string first = ReadBytes(folder_ + "/model.safetensors");
  WriteSafetensors(folder_, {{"b", {1}, values_.data()}, {"a", {2}, values_.data()}});
  EXPECT_EQ(ReadBytes(folder_ + "/model.safetensors"), first);
}

TEST_F(WriteSafetensorsTest, TooLargeForTheTypeIsAnErrorAndLeavesTheOldFile) {
  WriteSafetensors(folder_, {{"w", {1}, values_.data()}});
  const float values[] = {1, 70000, INFINITY};
  EXPECT_THAT(ErrorOf([&] {
                WriteSafetensors(folder_, {{"w", {3}, values, DType::kF16}});
              }),
              AllOf(HasSubstr("'w'"), HasSubstr("element 1 is 70000, too large for f16")));
  EXPECT_THAT(SafetensorsReader::Open(folder_).ReadF32("w"), ElementsAre(1));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
  WriteSafetensors(folder_, {{"w", {3}, values, DType::kBF16}});
  EXPECT_EQ(SafetensorsReader::Open(folder_).ReadF32("w", false)[2], INFINITY);
}

TEST_F(WriteSafetensorsTest, TooLargeForTheTypeIsNamedByItsPlaceInTheTensor) {
  std::vector<float> values(600'000, 1.0F);
  values[599'998] = -1e30F;
  EXPECT_THAT(ErrorOf([&] {
                WriteSafetensors(folder_, {{"w", {1000, 600}, values.data(), DType::kF16}});
              }),
              HasSubstr("element 599998 is -1e+30, too large for f16"));
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(WriteSafetensorsTest, InterruptedShardsAreNotMistakenForACheckpoint) {
  const float huge[] = {1e30f};
  WriteSafetensors(folder_, {{"a", {2}, values_.data()}, {"b", {2}, values_.data()}}, 8);
  EXPECT_THROW(
      WriteSafetensors(folder_, {{"a", {1}, values_.data()}, {"b", {1}, huge, DType::kF16}}, 2),
      Error);
  EXPECT_THAT(ErrorOf([&] { SafetensorsReader::Open(folder_); }), HasSubstr("holds neither"));
}

TEST_F(WriteSafetensorsTest, WrongUseIsABug) {
  EXPECT_THROW(WriteSafetensors(folder_, {{"a", {1}, values_.data()}, {"a", {1}, values_.data()}}),
               BugError);
  EXPECT_THROW(WriteSafetensors(folder_, {{"__metadata__", {1}, values_.data()}}), BugError);
  EXPECT_THROW(WriteSafetensors(folder_, {{"a", {1}, values_.data(), DType::kI8}}), BugError);
}

TEST_F(WriteSafetensorsTest, UnwritableFolderIsNamed) {
  WriteBytes(temp_ / "file", "");
  EXPECT_THAT(ErrorOf([&] { WriteSafetensors(temp_ / "file", {}); }), HasSubstr(temp_ / "file"));
}

TEST_F(WriteSafetensorsTest, TrainedModelComesBackBitForBit) {
  PUZZLE_REQUIRE_DATA("models");
  const auto original = SafetensorsReader::Open(DataPath("models/stories260K"));
  std::vector<std::vector<float>> data;
  std::vector<TensorToWrite> tensors;
  for (const std::string& name : original.Names()) data.push_back(original.ReadF32(name));
  for (size_t i = 0; i < data.size(); ++i) {
    const std::string name = original.Names()[i];
    tensors.push_back({name, original.Info(name).shape, data[i].data(), DType::kF32});
  }
  WriteSafetensors(folder_, tensors, 100'000);
  EXPECT_EQ(DigestSafetensors(SafetensorsReader::Open(folder_)), DigestSafetensors(original));
}

}  // namespace
}  // namespace puzzle
