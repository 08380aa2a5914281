#include "nodes/measure/task_damage.h"

#include <gtest/gtest.h>

#include <cmath>

namespace puzzle {
namespace {

std::vector<ContinuationScore> Beliefs(std::vector<double> probabilities) {
  std::vector<ContinuationScore> scores;
  for (const double p : probabilities) scores.push_back({std::log(p), false});
  return scores;
}

TEST(TaskDamageTest, BeliefsAreNormalisedBeforeTheyAreCompared) {
  // .5 and .5 against .25 and .75: (1/2) log 2 + (1/2) log(2/3).
  const double expected = 0.5 * std::log(2.0) + 0.5 * std::log(2.0 / 3);
  EXPECT_NEAR(BeliefKl(Beliefs({0.1, 0.1}), Beliefs({0.02, 0.06})), expected, 1e-12);
  EXPECT_NEAR(BeliefKl(Beliefs({1e-300, 1e-300}), Beliefs({1e-200, 3e-200})), expected, 1e-12);
  EXPECT_EQ(BeliefKl(Beliefs({0.3, 0.2}), Beliefs({0.3, 0.2})), 0);
}

TEST(TaskDamageTest, ASingleContinuationIsComparedWithEverythingElse) {
  EXPECT_NEAR(BeliefKl(Beliefs({0.5}), Beliefs({0.25})),
              0.5 * std::log(2.0) + 0.5 * std::log(2.0 / 3), 1e-12);
  EXPECT_NEAR(BeliefKl(Beliefs({1}), Beliefs({0.25})), std::log(4.0), 1e-12);
  EXPECT_EQ(BeliefKl(Beliefs({0}), Beliefs({0})), 0);
}

// Of a probability that differs from one by less than its rounding.
TEST(TaskDamageTest, AModelThatIsCertainIsStillComparedByANumber) {
  const double certain = BeliefKl(Beliefs({0.5}), Beliefs({1}));
  EXPECT_NEAR(certain, 0.5 * std::log(0.5) + 0.5 * (std::log(0.5) + 52 * std::log(2.0)), 1e-12);
  EXPECT_NEAR(BeliefKl(Beliefs({0.5}), Beliefs({1 + 1e-6})), certain, 1e-5);
  EXPECT_LT(BeliefKl(Beliefs({0.5}), Beliefs({1 - 1e-9})), certain);
  EXPECT_EQ(BeliefKl(Beliefs({1}), Beliefs({1})), 0);
  EXPECT_TRUE(std::isnan(BeliefKl(Beliefs({0.5}), Beliefs({std::nan("")}))));
}

TEST(TaskDamageTest, TasksCountAlikeWhateverTheirSize) {
  const std::vector<QuestionFigures> without = {{{1, 1}, {0, 0}}, {{1, 1, 1, 1}, {0, 0, 0, 0}}};
  const std::vector<QuestionFigures> with = {{{0, 1}, {0.2, 0.4}}, {{1, 1, 1, 0}, {1, 1, 1, 1}}};
  const TaskDamage damage = DamageOf(without, with);
  EXPECT_DOUBLE_EQ(damage.figures.accuracy.mean, (0.5 + 0.75) / 2);
  EXPECT_DOUBLE_EQ(damage.increase.accuracy.mean, -(0.5 + 0.25) / 2);
  EXPECT_DOUBLE_EQ(damage.increase.kl.mean, (0.3 + 1) / 2);
  // Deviations of .1 over two questions, of nothing over four; the mean over two tasks halves it.
  EXPECT_NEAR(damage.increase.kl.error, 0.1 / 2, 1e-12);
}

}  // namespace
}  // namespace puzzle
