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
                       kInFiles = {false, true}, kLeast = {true, true},
                       kAllInFiles = {true, true, true}, kAlone = {true, true, true, true};

constexpr double kBlocks = 30 * 3'540'096, kHead = 49152.0 * 576, kAll = kBlocks + kHead + 576;
constexpr double kTokens = 2 * 512;            // of a part of four
constexpr double kState = 4 * 576 * kTokens;   // a float for each channel
constexpr double kLogits = 8 * 49152.0 * 170;  // of two models, 170 tokens at a time
// Two states, 24 heads of 64, 9 sums and two rows of 1,536 channels in each layer.
constexpr double kKept = 30 * (2 * (4 * 576 + 4) + 2 * 64 * 24 + 4 * 9 + 2 * 2 * 1536) * kTokens;

// Behind the backward pass of a part: the gradients of the table of words, of the head that it is,
// and their sum.
constexpr double kEnd = kState + 3 * 4 * kHead;

// 1.05 times what is counted here by hand; teacher, student and best state lie in files.
TEST(StepMemoryTest, AStepIsCountedAsWhatItHolds) {
  const double student = 16 * kAll + 2 * kBlocks;  // and matrices in bf16
  const double heads = 2 * 2 * kHead;              // of both models, too
  const double part = 31 * kState + kKept + kState + 4 * kHead + kLogits;
  const double once = 1.05 * (student + heads + part);
  EXPECT_NEAR(DistillationBytes(Shape8(), kFastest), once, 1e-9 * once);
  EXPECT_NEAR(DistillationBytes(Shape8("bf16", 2), kFastest) - once, 1.05 * part, 1)
      << "a part more, no whole gradients";
  EXPECT_NEAR(DistillationBytes(Shape8("bf16", 2), kAlone),
              DistillationBytes(Shape8(), kAllInFiles), 1);
  EXPECT_NEAR(once - DistillationBytes(Shape8(), kInFiles), 1.05 * 12 * kAll, 1)
      << "parameters and two moments";
  EXPECT_NEAR(once - DistillationBytes(Shape8(), kRecompute), 1.05 * (part - kEnd), 1);
  EXPECT_NEAR(DistillationBytes(Shape8(), kLeast) - DistillationBytes(Shape8(), kAllInFiles),
              1.05 * (4 * kAll + 2 * kBlocks + 2 * kHead), 1)
      << "gradients, and what is rounded of the student";
}

TEST(StepMemoryTest, EveryLossHasAGradientOfTheVocabulary) {
  GkdParams params;
  params.compute = "bf16";
  const auto of = [&](const MemoryChoice& choice) {
    return DistillationBytes(DistillationShapeOf(params, SmallConfig(), SmallConfig(), 512, 2),
                             choice);
  };
  constexpr double kStates = (31 + 30) * kState;  // the teacher's, and what blocks begin with
  const double one = of(kLeast);
  params.lm_weight = 1;
  EXPECT_NEAR(of(kLeast) - one, 1.05 * 2 * (kStates + 3 * (kState + 4 * kHead) - kEnd), 1)
      << "and their sum, in each of two parts";
  params.kl_weight = 0;
  EXPECT_NEAR(one - of(kLeast), 1.05 * 2 * kHead, 1) << "nothing is asked of the teacher's head";
  params.lm_weight = 0;
  EXPECT_NEAR(one - of(kLeast),
              1.05 * (2 * 2 * kHead +  // both heads in bf16, and of each part the moment
                      2 * (kEnd - kStates - (2 * kKept + 4 * kBlocks) / 30)),  // of a block in work
              1);
}

TEST(StepMemoryTest, AFewTokensTakeWhatTheTableOfWordsDoes) {
  GkdParams params;
  params.compute = "bf16";
  params.batch = 4;
  const auto of = [&](bool tied) {
    ModelConfig config = SmallConfig();
    config.tied_embeddings = tied;
    const DistillationShape shape = DistillationShapeOf(params, config, config, 8, 1);
    return DistillationBytes(shape, kAllInFiles);
  };
  const double teacher_head = 2 * kHead, state = 4 * 576 * 8;
  EXPECT_NEAR(of(true), 1.05 * (teacher_head + 3 * 4 * kHead + state), 1);
  EXPECT_LT(of(false), of(true));
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
  constexpr double kNorms = 30 * (576.0 * 576 + 576 * 1536 + 2 * 576);
  EXPECT_NEAR(all - norms, 1.05 * (16 * (kAll - kNorms) - 4 * kNorms + 4 * kHead), 1);
  params.train = "adapters";
  EXPECT_LT(of(), norms);
  constexpr double kMatrices = 30 * (2.0 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536);
  DistillationShape plain = DistillationShapeOf(params, SmallConfig(), SmallConfig(), 512, 1);
  plain.fused = false;
  EXPECT_GT(DistillationBytes(plain, kFastest), of() + 1.05 * 4 * kMatrices)
      << "matrices made anew";
  // A student that is small enough is in memory whole.
  DistillationShape roomy = DistillationShapeOf(params, SmallConfig(), SmallConfig(), 512, 1);
  const double in_file = DistillationBytes(roomy, kFastest);
  roomy.most_in_memory = 4 * kAll;
  EXPECT_NEAR(DistillationBytes(roomy, kFastest) - in_file,
              1.05 * (4 * kAll + 4 * (kHead + 576) + 2 * kBlocks), 1)
      << "and so is the teacher";
}

TEST(StepMemoryTest, ATeacherThatHasAnsweredTakesNoRoomInAStep) {
  GkdParams params;
  DistillationShape answered = Shape8();
  answered.TakeTeachersWords(params);
  const auto saved = [&] {
    return DistillationBytes(Shape8(), kFastest) - DistillationBytes(answered, kFastest);
  };
  // Its logits, where the student's are in bf16, too; and its matrix in bf16.
  constexpr double kItsHead = kLogits / 8 * 2 + 2 * kHead;
  EXPECT_NEAR(saved(), 1.05 * kItsHead, 1) << "hidden states are compared";
  params.cosine_weight = 0;
  answered.TakeTeachersWords(params);
  EXPECT_NEAR(saved(), 1.05 * (kItsHead + 31 * kState), 1);
}

TEST(StepMemoryTest, ATeacherThatNoLossAsksHasNoStates) {
  const auto has_states = [](double kl, double cosine) {
    GkdParams params;
    params.kl_weight = kl;
    params.cosine_weight = cosine;
    params.lm_weight = 1;
    const ModelConfig model = Shape8().student;
    return DistillationShapeOf(params, model, model, 512, 1).has_teachers_states;
  };
  EXPECT_FALSE(has_states(0, 0));
  EXPECT_TRUE(has_states(1, 0));
  EXPECT_TRUE(has_states(0, 1));
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
  constexpr double kOther = kHead + 576;
  DistillationShape shape = Shape8();
  EXPECT_NEAR(ModelBytes(shape), 2 * kHead, 1) << "both lie in files, but for the rounded head";
  shape.most_in_memory = 1e12;
  EXPECT_NEAR(ModelBytes(shape), 4 * kAll + 4 * kOther + 2 * kBlocks + 2 * kHead, 1);
  shape.in_bf16 = shape.head_in_bf16 = false;
  EXPECT_NEAR(ModelBytes(shape), 8 * kAll, 1);
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

TEST(StepMemoryTest, OnePartAtATimeIsTheLastThingToDo) {
  const DistillationShape shape = Shape8("bf16", 2);
  const double together = DistillationBytes(shape, kAllInFiles);
  EXPECT_FALSE(ChooseMemory(shape, "auto", together).one_at_a_time);
  const MemoryChoice choice = ChooseMemory(shape, "auto", together - 1);
  EXPECT_TRUE(choice.one_at_a_time);
  EXPECT_LT(DistillationBytes(shape, choice), together);
  EXPECT_FALSE(ChooseMemory(Shape8(), "auto", 1000).one_at_a_time) << "there is one thread";
  EXPECT_EQ(WhatItDoes(kFastest), "");
  EXPECT_EQ(WhatItDoes(kLeast),
            "blocks are computed again for their gradients, and parameters and moments lie in "
            "files");
  EXPECT_EQ(WhatItDoes(kAlone),
            "blocks are computed again for their gradients, parameters, gradients, moments and "
            "rounded matrices lie in files, and parts of a batch are computed one after another "
            "on one thread");
}

TEST(StepMemoryTest, WhatTakesLessIsNamed) {
  GkdParams params;
  params.compute = "bf16";
  ModelConfig child = SmallConfig();
  child.blocks[3].ffn.size = 768;
  DistillationShape shape = DistillationShapeOf(params, SmallConfig(), child, 512, 1);
  shape.most_in_memory = 50e6;
  const double least = DistillationBytes(shape, kAllInFiles);
  const std::string ways = WaysToTakeLess(shape, params, least - 1);
  EXPECT_THAT(ways, testing::StartsWith("`train` \"changed\" takes about "));
  EXPECT_THAT(ways, HasSubstr("`train` \"norms\" takes about "));
  EXPECT_THAT(ways, HasSubstr("a `batch` of 4 takes about "));
  EXPECT_EQ(WaysToTakeLess(shape, params, 1000), "");
}

TEST(StepMemoryTest, WhatTakesLessKeepsBlocksWhereTheyAreToBeKept) {
  GkdParams params;
  params.recompute = "off";
  const DistillationShape shape =
      DistillationShapeOf(params, SmallConfig(), SmallConfig(), 512, /*threads=*/1);
  DistillationShape smaller = shape;
  smaller.batch = 4;
  const double limit = DistillationBytes(smaller, {.in_files = true, .all_in_files = true}) - 1;
  EXPECT_THAT(WaysToTakeLess(shape, params, limit), testing::Not(HasSubstr("`batch`")));
  EXPECT_THAT(WaysToTakeLess(shape, params, limit + 1), HasSubstr("a `batch` of 4 takes about "));
  EXPECT_THAT(WaysToTakeLess(shape, params, DistillationBytes(shape, kAllInFiles)),
              HasSubstr("`recompute` \"auto\" takes about "));
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
