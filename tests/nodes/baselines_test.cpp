#include "nodes/solver/baselines.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <set>

#include "tests/nodes/mip_problems.h"

namespace puzzle {
namespace {

using ::testing::ElementsAre;
using ::testing::Optional;

// `layers` times an attention and an FFN; later layers lose less.
MipProblem Transformer(int layers, double high) {
  MipProblem problem;
  problem.limits = {{.resource = "parameters", .high = high}};
  for (int layer = 0; layer < layers; ++layer) {
    const double loss = 1.0 / (1 + layer);
    problem.groups.push_back(
        {{"kv2", 0, {40}}, {"kv1", 0.1 * loss, {30}}, {"none", 3 * loss, {0}}});
    problem.groups.push_back({{"100%", 0, {100}}, {"50%", loss, {50}}, {"none", 9 * loss, {0}}});
  }
  return problem;
}

TEST(BestUniformTest, TakesTheSameNamesInAllLayers) {
  const auto choice = BestUniform(Transformer(3, 3 * 85));
  ASSERT_TRUE(choice);
  EXPECT_THAT(*choice, ElementsAre(1, 1, 1, 1, 1, 1));  // kv1 + 50 %
}

TEST(BestUniformTest, IsTheBestOfAllUniformChoices) {
  for (double high : {0.0, 30.0, 100.0, 150.0, 211.0, 250.0, 300.0, 420.0}) {
    const MipProblem problem = Transformer(3, high);
    std::optional<double> best;
    ForEachChoice(problem, [&](const std::vector<int>& choice) {
      for (size_t g = 2; g < choice.size(); ++g) {
        if (choice[g] != choice[g - 2]) return;
      }
      if (!WithinLimits(problem, ChoiceTotals(problem, choice))) return;
      const double score = ChoiceScore(problem, choice);
      if (!best || score < *best) best = score;
    });
    const auto choice = BestUniform(problem);
    ASSERT_TRUE(choice) << high;
    EXPECT_NEAR(ChoiceScore(problem, *choice), best.value(), 1e-9) << high;
    EXPECT_TRUE(WithinLimits(problem, ChoiceTotals(problem, *choice))) << high;
  }
}

TEST(BestUniformTest, NothingFits) {
  EXPECT_FALSE(BestUniform(Transformer(2, -1)));
}

TEST(LastDroppedTest, DropsAsManyOfTheLastSubBlocksAsItMust) {
  // 140 a layer: attention 40, FFN 100.
  EXPECT_THAT(LastDropped(Transformer(3, 420)), Optional(ElementsAre(0, 0, 0, 0, 0, 0)));
  EXPECT_THAT(LastDropped(Transformer(3, 419)), Optional(ElementsAre(0, 0, 0, 0, 0, 2)));
  EXPECT_THAT(LastDropped(Transformer(3, 320)), Optional(ElementsAre(0, 0, 0, 0, 0, 2)));
  EXPECT_THAT(LastDropped(Transformer(3, 300)), Optional(ElementsAre(0, 0, 0, 0, 2, 2)));
  EXPECT_THAT(LastDropped(Transformer(3, 0)), Optional(ElementsAre(2, 2, 2, 2, 2, 2)));
  EXPECT_FALSE(LastDropped(Transformer(3, -1)));
}

TEST(RandomChoiceTest, UsesTheBudgetAndStaysWithinIt) {
  for (int layers : {3, 6, 40}) {
    const double high = 0.7 * 140 * layers;
    const MipProblem problem = Transformer(layers, high);
    for (uint64_t seed = 0; seed < 20; ++seed) {
      const auto choice = RandomChoice(problem, seed);
      ASSERT_TRUE(choice);
      const double total = ChoiceTotals(problem, *choice)[0];
      EXPECT_LE(total, high);
      EXPECT_GE(total, 0.95 * high) << layers << " layers, seed " << seed;
    }
  }
}

TEST(RandomChoiceTest, SeedsDecide) {
  const MipProblem problem = Transformer(6, 600);
  EXPECT_EQ(RandomChoice(problem, 1), RandomChoice(problem, 1));
  std::set<std::vector<int>> choices;
  for (uint64_t seed = 0; seed < 20; ++seed) choices.insert(RandomChoice(problem, seed).value());
  EXPECT_GT(choices.size(), 15u);
}

TEST(RandomChoiceTest, IsUniformOverTheChoicesThatFit) {
  EXPECT_THAT(RandomChoice(Transformer(1, 100), 3).value(),
              ElementsAre(2, 0));  // the only one between 95 and 100

  const MipProblem problem = Transformer(2, 280);  // everything is within the limits
  std::map<std::vector<int>, int> count;
  for (uint64_t seed = 0; seed < 8100; ++seed) ++count[RandomChoice(problem, seed, 0).value()];
  EXPECT_EQ(count.size(), 81u);
  for (const auto& [choice, times] : count) EXPECT_NEAR(times, 100, 50);
}

TEST(RandomChoiceTest, TakesTheFullestWhenTheBudgetCannotBeUsed) {
  const MipProblem problem = Transformer(3, 1e6);
  EXPECT_THAT(RandomChoice(problem, 5).value(), ElementsAre(0, 0, 0, 0, 0, 0));
}

TEST(RandomChoiceTest, FindsTheOnlyChoiceThatFits) {
  MipProblem problem = HardProblem(6, 3);
  const MipSolution best = SolveMip(problem);
  for (size_t r = 0; r < 2; ++r) {
    problem.limits[r].low = problem.limits[r].high = best.totals[r];
  }
  const auto choice = RandomChoice(problem, 1);
  ASSERT_TRUE(choice);
  EXPECT_TRUE(WithinLimits(problem, ChoiceTotals(problem, *choice)));
}

TEST(RandomChoiceTest, NothingFits) {
  EXPECT_FALSE(RandomChoice(Transformer(2, -1), 1));
}

}  // namespace
}  // namespace puzzle
