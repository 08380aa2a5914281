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

TEST(StepMemoryTest, NothingFitsSaysSoAndUnknownMemoryFitsAll) {
  EXPECT_THAT(Complaint(Shape8(), 1000), HasSubstr("shorter sequences"));
  EXPECT_EQ(Complaint(Shape8(), 0), "");
  EXPECT_FALSE(WantsRecompute(SmallConfig(), Shape8(), 0));
  EXPECT_TRUE(WantsRecompute(SmallConfig(), Shape8(), 1000));
  EXPECT_FALSE(WantsRecompute(SmallConfig(), Shape8(), uint64_t{1} << 40));
}

}  // namespace
}  // namespace puzzle
