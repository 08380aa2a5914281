#include "nodes/train/step_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "io/error.h"

namespace puzzle {
namespace {

using testing::HasSubstr;

ModelConfig SmallConfig() {
  ModelConfig config;
  config.hidden_size = 576;
  config.blocks.assign(30, {{SubBlockForm::kFull, 3}, {SubBlockForm::kFull, 1536}});
  return config;
}

StepShape Shape8() {
  return {.batch = 8, .length = 512, .parts = 4, .threads = 1, .parameters = 134'000'000};
}

std::string Complaint(const StepShape& shape, uint64_t free) {
  try {
    CheckBatchFits(SmallConfig(), shape, true, free);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(StepMemoryTest, RecomputedBlocksAndFewerThreadsTakeLess) {
  const double kept = StepBytes(SmallConfig(), Shape8(), false);
  EXPECT_LT(StepBytes(SmallConfig(), Shape8(), true), 0.5 * kept);
  StepShape two = Shape8();
  two.threads = 2;
  EXPECT_GT(StepBytes(SmallConfig(), two, false), 2 * kept);
}

TEST(StepMemoryTest, WhatAFileHoldsIsACopyMore) {
  StepShape stored = Shape8();
  stored.stored = true;
  EXPECT_EQ(StepBytes(SmallConfig(), stored, true) - StepBytes(SmallConfig(), Shape8(), true),
            4 * 134e6);
}

TEST(StepMemoryTest, ABatchThatDoesNotFitIsToldTheLargestThatDoes) {
  StepShape shape = Shape8();
  shape.batch = 64;
  const double of_16 = StepBytes(SmallConfig(), {16, 512, 4, 1, 0}, true);
  const auto free = static_cast<uint64_t>(of_16) + 1;
  EXPECT_THAT(Complaint(shape, free), HasSubstr("a step of 64 sequences of 512 tokens"));
  EXPECT_THAT(Complaint(shape, free), HasSubstr("`batch` of at most 16"));
  shape.batch = 16;
  EXPECT_EQ(Complaint(shape, free), "");
  shape.batch = 17;
  EXPECT_NE(Complaint(shape, free), "");
}

// Of SmolLM2's layers in bf16 a token keeps two states, 24 heads of 64, 9 sums and two rows of
// 1,536 channels: 13.9 kB instead of 52.2. The matrices are there once more, in bf16.
TEST(StepMemoryTest, FusedBlocksOfBf16AreCountedAsWhatTheyKeep) {
  ModelConfig config = SmallConfig();
  config.n_heads = 9;
  config.head_dim = 64;
  StepShape shape = Shape8();
  const double plain = StepBytes(config, shape, false);
  shape.fused = true;
  const int64_t tokens = 2 * 512;
  const int64_t kept = 30 * (2 * (4 * 576 + 4) + 2 * 64 * 24 + 4 * 9 + 2 * 2 * 1536);
  const int64_t before = 30 * 4 * (12 * 576 + 4 * 1536);
  EXPECT_DOUBLE_EQ(StepBytes(config, shape, false) - plain,
                   static_cast<double>((kept - before) * tokens + 2 * shape.parameters));
  // A batch that fits in bf16 is not refused, nor computed twice, for what fp32 would take.
  const auto free = static_cast<uint64_t>(plain) - 1;
  EXPECT_NO_THROW(CheckBatchFits(config, shape, false, free));
  shape.fused = false;
  EXPECT_THROW(CheckBatchFits(config, shape, false, free), Error);
  EXPECT_TRUE(WantsRecompute(config, shape, uint64_t{4} << 30));
  shape.fused = true;
  EXPECT_FALSE(WantsRecompute(config, shape, uint64_t{4} << 30));
}

TEST(StepMemoryTest, NothingFitsSaysSoAndUnknownMemoryFitsAll) {
  EXPECT_THAT(Complaint(Shape8(), 1000), HasSubstr("shorter sequences"));
  EXPECT_EQ(Complaint(Shape8(), 0), "");
  EXPECT_FALSE(WantsRecompute(SmallConfig(), Shape8(), 0));
  EXPECT_TRUE(WantsRecompute(SmallConfig(), Shape8(), 1000));
  EXPECT_FALSE(WantsRecompute(SmallConfig(), Shape8(), uint64_t{1} << 40));
}

}  // namespace
}  // namespace puzzle
