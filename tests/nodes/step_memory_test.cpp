#include "nodes/train/step_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "io/error.h"

namespace puzzle {
namespace {

using testing::HasSubstr;

// SmolLM2: 106.2 M parameters in blocks, 28.3 M beside them.
ModelConfig SmallConfig() {
  ModelConfig config;
  config.vocab_size = 49152;
  config.hidden_size = 576;
  config.n_heads = 9;
  config.head_dim = 64;
  config.tied_embeddings = true;
  config.blocks.assign(30, {{SubBlockForm::kFull, 3}, {SubBlockForm::kFull, 1536}});
  return config;
}

DistillationShape Shape8(const std::string& compute = "bf16", int64_t threads = 1,
                         int64_t batch = 8) {
  GkdParams params;
  params.compute = compute;
  params.batch = batch;
  return DistillationShapeOf(params, SmallConfig(), SmallConfig(), 512, threads);
}

constexpr MemoryChoice kFastest = {false, false}, kRecompute = {true, false},
                       kInFiles = {false, true}, kLeast = {true, true};

// 1.05 times what is counted here by hand; the teacher and the best state lie in files.
TEST(StepMemoryTest, AStepIsCountedAsWhatItHolds) {
  constexpr double kBlocks = 30 * 3'540'096, kHead = 49152.0 * 576, kAll = kBlocks + kHead + 576;
  const double student = 16 * kAll + 2 * kBlocks;  // and matrices in bf16
  constexpr double kTokens = 2 * 512;              // of a part of four
  const double teacher = 31 * 4 * 576 * kTokens;
  // Two states, 24 heads of 64, 9 sums and two rows of 1,536 channels in each layer.
  const double kept = 30 * (2 * (4 * 576 + 4) + 2 * 64 * 24 + 4 * 9 + 2 * 2 * 1536) * kTokens;
  const double head = 10 * 49152.0 * 170 + 8 * kHead;  // 170 tokens at a time
  const double once = 1.05 * (student + teacher + kept + head);
  EXPECT_NEAR(DistillationBytes(Shape8(), kFastest), once, 1e-9 * once);
  EXPECT_NEAR(DistillationBytes(Shape8("bf16", 2), kFastest) - once, 1.05 * (teacher + kept + head),
              1)
      << "a part more, no whole gradients";
  EXPECT_NEAR(once - DistillationBytes(Shape8(), kInFiles), 1.05 * 12 * kAll, 1)
      << "parameters and two moments";
  EXPECT_NEAR(once - DistillationBytes(Shape8(), kRecompute),
              1.05 * (kept - kept / 30 - 30 * 4 * 576 * kTokens), 1);
}

TEST(StepMemoryTest, WhatIsNotTrainedTakesItsWeightsAlone) {
  GkdParams params;
  params.compute = "bf16";
  params.train = "norms";
  const auto of = [&] {
    return DistillationBytes(DistillationShapeOf(params, SmallConfig(), SmallConfig(), 512, 1),
                             kFastest);
  };
  const double all = DistillationBytes(Shape8(), kFastest), norms = of();
  // o, down and two norms of each layer, whose best state is small enough for the memory; and the
  // vocabulary's gradient in a step.
  constexpr double kNorms = 30 * (576.0 * 576 + 576 * 1536 + 2 * 576), kHead = 49152.0 * 576;
  constexpr double kLess = 30 * 3'540'096 + kHead + 576 - kNorms;
  EXPECT_NEAR(all - norms, 1.05 * (12 * kLess - 4 * kNorms + 4 * kHead), 1);
  params.train = "adapters";
  EXPECT_LT(of(), all);
  EXPECT_GT(of(), norms - 1.05 * 12 * kNorms) << "matrices made anew";
}

TEST(StepMemoryTest, ATeacherThatHasAnsweredTakesNoRoomInAStep) {
  GkdParams params;
  DistillationShape answered = Shape8();
  answered.TakeTeachersWords(params);
  const auto saved = [&] {
    return DistillationBytes(Shape8(), kFastest) - DistillationBytes(answered, kFastest);
  };
  constexpr double kHead = 4 * 49152.0 * 170 + 2 * 49152.0 * 576;  // its logits, its matrix in bf16
  EXPECT_NEAR(saved(), 1.05 * kHead, 1) << "hidden states are compared";
  params.cosine_weight = 0;
  answered.TakeTeachersWords(params);
  EXPECT_NEAR(saved(), 1.05 * (kHead + 31 * 4 * 576 * 2 * 512), 1);
}

// A best state that is small enough for the memory, where there is one.
TEST(StepMemoryTest, WithoutHeldOutSequencesThereIsNoBestState) {
  GkdParams params;
  params.train = "norms";
  const auto of = [&](int64_t holdout) {
    params.holdout = holdout;
    return DistillationBytes(DistillationShapeOf(params, SmallConfig(), SmallConfig(), 512, 1),
                             kFastest);
  };
  constexpr double kNorms = 30 * (576.0 * 576 + 576 * 1536 + 2 * 576);
  const double without = of(0);
  EXPECT_NEAR(of(4) - without, 1.05 * 4 * kNorms, 0.5);
  EXPECT_EQ(of(1), of(4));
  DistillationShape shape = Shape8();
  const double in_a_file = DistillationBytes(shape, kFastest);
  shape.keeps_best = false;
  EXPECT_EQ(DistillationBytes(shape, kFastest), in_a_file) << "a large one takes no memory";
}

TEST(StepMemoryTest, TwoModelsAreTheTeachersMatricesAsTheyMultiplyAndTheStudentInFp32) {
  constexpr double kBlocks = 30 * 3'540'096, kOther = 49152.0 * 576 + 576;
  DistillationShape shape = Shape8();
  EXPECT_NEAR(ModelBytes(shape), 4 * (kBlocks + kOther), 1) << "the teacher lies in a file";
  shape.most_in_memory = 1e12;
  EXPECT_NEAR(ModelBytes(shape), 4 * (kBlocks + kOther) + 4 * kOther + 2 * kBlocks, 1);
  shape.in_bf16 = false;
  EXPECT_NEAR(ModelBytes(shape), 8 * (kBlocks + kOther), 1);
}

TEST(StepMemoryTest, WhatAFileHoldsIsACopyMore) {
  DistillationShape stored = Shape8();
  stored.stored = true;
  EXPECT_NEAR(DistillationBytes(stored, kLeast) - DistillationBytes(Shape8(), kLeast),
              1.05 * 4 * (30 * 3'540'096 + 49152.0 * 576 + 576), 1);
}

TEST(StepMemoryTest, TheFastestThatFitsIsChosen) {
  const auto choose = [](const std::string& recompute, const MemoryChoice& fits) {
    return ChooseMemory(Shape8(), recompute, DistillationBytes(Shape8(), fits));
  };
  for (const MemoryChoice& fits : {kFastest, kRecompute, kInFiles, kLeast}) {
    const MemoryChoice choice = choose("auto", fits);
    EXPECT_EQ(choice.recompute, fits.recompute);
    EXPECT_EQ(choice.in_files, fits.in_files);
  }
  EXPECT_TRUE(choose("on", kFastest).recompute);
  EXPECT_FALSE(choose("off", kLeast).recompute) << "what is asked for";
  EXPECT_TRUE(choose("off", kRecompute).in_files);
  EXPECT_TRUE(ChooseMemory(Shape8(), "auto", 1000).in_files) << "the least, if nothing fits";
  EXPECT_FALSE(ChooseMemory(Shape8(), "auto", std::numeric_limits<double>::infinity()).recompute);
}

TEST(StepMemoryTest, WhatFitsInBf16IsNotRefusedForWhatFp32Takes) {
  const double bf16 = DistillationBytes(Shape8(), kFastest);
  EXPECT_NO_THROW(CheckBatchFits(Shape8(), kFastest, bf16));
  EXPECT_THROW(CheckBatchFits(Shape8("fp32"), kFastest, bf16), Error);
}

std::string Complaint(int64_t batch, double limit) {
  try {
    CheckBatchFits(Shape8("bf16", 1, batch), kRecompute, limit);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(StepMemoryTest, ABatchThatDoesNotFitIsToldTheLargestThatDoes) {
  const double of_16 = DistillationBytes(Shape8("bf16", 1, 16), kRecompute);
  EXPECT_THAT(Complaint(64, of_16 + 1), HasSubstr("a step of 64 sequences of 512 tokens"));
  EXPECT_THAT(Complaint(64, of_16 + 1), HasSubstr("`batch` of at most 16"));
  EXPECT_EQ(Complaint(16, of_16 + 1), "");
  EXPECT_NE(Complaint(17, of_16 + 1), "");
  EXPECT_THAT(Complaint(8, 1000), HasSubstr("shorter sequences"));
}

}  // namespace
}  // namespace puzzle
