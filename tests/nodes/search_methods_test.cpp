#include "nodes/solver/search_methods.h"

#include <gmock/gmock.h>

#include "io/error.h"
#include "nodes/solver/evolve.h"
#include "nodes/solver/greedy.h"
#include "tests/nodes/mip_problems.h"

namespace puzzle {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::vector<std::vector<double>> SizesOf(const MipProblem& problem) {
  std::vector<std::vector<double>> sizes;
  for (const auto& group : problem.groups) {
    sizes.emplace_back();
    for (const MipOption& option : group) sizes.back().push_back(option.costs[0]);
  }
  return sizes;
}

TEST(SearchMethodsTest, NoMethodBeatsTheOptimumOrBreaksALimit) {
  for (uint64_t seed : {1, 2, 3}) {
    const MipProblem problem = HardProblem(12, seed);
    SearchSettings settings;
    settings.sizes = SizesOf(problem);
    const auto results = CompareMethods(problem, settings);
    ASSERT_EQ(results.size(), SearchMethods().size() - 1);  // all but cbc
    const double best = results.front().solution.objective;
    for (const auto& [method, solution] : results) {
      SCOPED_TRACE(method);
      if (solution.choice.empty()) {
        EXPECT_THAT(solution.explanation, HasSubstr("found no choice within the limits"));
        continue;
      }
      EXPECT_TRUE(WithinLimits(problem, ChoiceTotals(problem, solution.choice)));
      EXPECT_DOUBLE_EQ(solution.objective, ChoiceScore(problem, solution.choice));
      EXPECT_GE(solution.objective, best - 1e-12);
      EXPECT_LE(solution.bound, best + 1e-9);
    }
  }
}

TEST(SearchMethodsTest, LearningSearchesComeCloseOnSmallProblemsAndRepeat) {
  const MipProblem problem = HardProblem(12, 4);
  const double best = SolveMip(problem).objective;
  for (const char* method : {"evolution", "policy"}) {
    SCOPED_TRACE(method);
    SearchSettings settings;
    settings.method = method;
    const MipSolution solution = Search(problem, settings).front();
    ASSERT_FALSE(solution.choice.empty());
    EXPECT_LT(solution.objective, 1.2 * best);
    EXPECT_EQ(Search(problem, settings).front().choice, solution.choice);
  }
}

TEST(GreedyTest, TakesTheStepsThatCostLeastPerPartOfTheExcess) {
  // 3 too much: the third group gives 3 for 0.3, the first 3 for 0.9, the second only 1 for 0.2.
  const MipProblem problem{{{{"a", 0, {3}}, {"b", 0.9, {0}}},
                            {{"a", 0, {1}}, {"b", 0.2, {0}}},
                            {{"a", 0, {3}}, {"b", 0.3, {0}}}},
                           {{.resource = "memory", .high = 4}}};
  EXPECT_THAT(EfficiencyGreedy(problem).value(), ElementsAre(0, 0, 1));
}

TEST(GreedyTest, SharesGiveEveryLayerTheMeanOfWhatIsLeft) {
  // The mean score of the second layer is lower, so it goes first: a share of 3 of 6 allows its
  // middle option; the 4 that are left allow the first layer its best one.
  const MipProblem problem{{{{"big", 0, {4}}, {"small", 9, {1}}},
                            {{"big", 0, {5}}, {"middle", 1, {2}}, {"small", 2, {1}}}},
                           {{.resource = "memory", .high = 6}}};
  EXPECT_THAT(ShareGreedy(problem).value(), ElementsAre(0, 1));
}

TEST(GreedyTest, RepairsLowerLimitsToo) {
  const MipProblem problem{{{{"a", 0, {0}}, {"b", 2, {2}}}, {{"a", 0, {0}}, {"b", 1, {2}}}},
                           {{.resource = "kv_heads", .low = 2}}};
  EXPECT_THAT(EfficiencyGreedy(problem).value(), ElementsAre(0, 1));
}

TEST(GreedyTest, NothingFits) {
  const MipProblem problem{{{{"a", 0, {1}}}}, {{.resource = "memory", .high = 0.5}}};
  EXPECT_FALSE(EfficiencyGreedy(problem));
  EXPECT_FALSE(ShareGreedy(problem));
  EXPECT_FALSE(Evolve(problem, 1));
  EXPECT_FALSE(LearnPolicy(problem, 1));
}

std::string MessageOf(const SearchSettings& settings) {
  try {
    (void)Search(HardProblem(3, 1), settings);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(SearchMethodsTest, WrongSettingsAreRefusedByName) {
  SearchSettings settings;
  settings.method = "anealing";
  EXPECT_THAT(MessageOf(settings),
              StartsWith("unknown method \"anealing\"; there are exact, cbc,"));
  settings.method = "max_params";
  EXPECT_EQ(MessageOf(settings), "max_params: there is no resource that counts parameters");
  settings.method = "uniform";
  settings.pool = 2;
  EXPECT_EQ(MessageOf(settings), "a pool needs the method exact or cbc, not uniform");
  settings.method = "exact";
  settings.distance = 4;
  EXPECT_EQ(MessageOf(settings), "a distance of 4 is not between 1 and the 3 choices to make");
}

TEST(SearchMethodsTest, APoolEndsWhenThereAreNoMoreSolutions) {
  const MipProblem problem{{{{"a", 0, {}}, {"b", 1, {}}}, {{"a", 0, {}}, {"b", 2, {}}}}, {}};
  SearchSettings settings;
  settings.pool = 10;
  std::vector<double> objectives;
  for (const MipSolution& solution : Search(problem, settings)) {
    objectives.push_back(solution.objective);
  }
  EXPECT_THAT(objectives, ElementsAre(0, 1, 2, 3));
  settings.distance = 2;
  EXPECT_EQ(Search(problem, settings).size(), 2u);
}

TEST(SearchMethodsTest, APoolThatRanOutOfTimeSaysSo) {
  const MipProblem problem = HardProblem(8, 1);
  int polls = 0, allowed = 1 << 30;
  SearchSettings settings;
  settings.should_stop = [&] { return ++polls > allowed; };
  ASSERT_EQ(Search(problem, settings).front().status, SolveStatus::kOptimal);
  allowed = polls;  // what the first solution takes
  polls = 0;
  settings.pool = 2;
  const std::vector<MipSolution> pool = Search(problem, settings);
  ASSERT_EQ(pool.size(), 1u);
  EXPECT_EQ(pool[0].status, SolveStatus::kOptimal);
  EXPECT_THAT(pool[0].explanation,
              StartsWith("whether there are more is not known: no choice within the limits was "));
}

TEST(SearchMethodsTest, TheTableShowsTheDistanceFromTheOptimum) {
  const MipProblem problem{{{{"a", 1, {3}}, {"b", 2, {1}}}, {{"a", 1, {3}}, {"b", 4, {1}}}},
                           {{.resource = "memory", .high = 4}}};
  const std::string table = ComparisonTable(CompareMethods(problem, {}), true);
  EXPECT_THAT(table, HasSubstr("exact             3.000000       +0.00 %"));
  EXPECT_THAT(table, HasSubstr("uniform           6.000000     +100.00 %"));
}

}  // namespace
}  // namespace puzzle
