#include "nodes/solver/mip.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "nodes/solver/depth_first.h"
#include "nodes/solver/lagrange.h"
#include "nodes/solver/mip_core.h"
#include "nodes/solver/search_methods.h"
#include "tests/nodes/mip_problems.h"

namespace puzzle {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Two layers; each may be kept, halved or dropped.
MipProblem TwoLayers(double high) {
  const std::vector<MipOption> layer = {{"full", 0, {10}}, {"half", 1, {5}}, {"none", 4, {0}}};
  return {{layer, layer}, {{.resource = "memory_mib", .high = high, .fixed = 3}}};
}

TEST(MipTest, TakesTheBestOptionsWhenTheyFit) {
  const MipSolution solution = SolveMip(TwoLayers(23));
  EXPECT_EQ(solution.status, SolveStatus::kOptimal);
  EXPECT_THAT(solution.choice, ElementsAre(0, 0));
  EXPECT_THAT(solution.totals, ElementsAre(23));
  EXPECT_EQ(solution.objective, 0);
  EXPECT_EQ(solution.bound, 0);
  EXPECT_EQ(solution.gap, 0);
}

TEST(MipTest, GivesUpTheLeastForTheBudget) {
  const MipSolution solution = SolveMip(TwoLayers(22.9));
  EXPECT_EQ(solution.status, SolveStatus::kOptimal);
  EXPECT_EQ(solution.objective, 1);
  EXPECT_THAT(solution.totals, ElementsAre(18));
  EXPECT_GT(solution.time_s, 0);
}

TEST(MipTest, NeedsNoLimits) {
  const MipSolution solution = SolveMip({{{{"a", 2, {}}, {"b", -1, {}}}}, {}});
  EXPECT_EQ(solution.status, SolveStatus::kOptimal);
  EXPECT_THAT(solution.choice, ElementsAre(1));
}

TEST(MipTest, AgreesWithBruteForce) {
  Random random(20);
  int feasible = 0;
  for (int i = 0; i < 1500; ++i) {
    SCOPED_TRACE(i);
    const MipProblem problem = RandomProblem(random, /*lattice=*/i % 2 == 0);
    const std::optional<double> best = BruteForce(problem);
    feasible += best ? 1 : 0;
    const double bound = LowerBound(problem);
    if (best) {
      EXPECT_LE(bound, *best + 1e-9);
    }
    for (const MipSolver solver : {MipSolver::kExact, MipSolver::kCbc}) {
      MipOptions options;
      options.solver = solver;
      const MipSolution solution = SolveMip(problem, options);
      if (!best) {
        EXPECT_EQ(solution.status, SolveStatus::kInfeasible);
        EXPECT_FALSE(solution.explanation.empty());
        continue;
      }
      ASSERT_EQ(solution.status, SolveStatus::kOptimal);
      EXPECT_TRUE(WithinLimits(problem, solution.totals));
      EXPECT_EQ(solution.totals, ChoiceTotals(problem, solution.choice));
      EXPECT_NEAR(solution.objective, *best, 1e-9);
    }
  }
  EXPECT_GT(feasible, 500);
  EXPECT_LT(feasible, 1400);
}

// Twelve to twenty groups under up to three limits: too many choices to try, quick for CBC.
TEST(MipTest, TheExactSolverAgreesWithCbc) {
  Random random(7);
  int proven = 0;
  for (int i = 0; i < 60; ++i) {
    SCOPED_TRACE(i);
    const MipProblem problem = MediumProblem(random, /*lattice=*/i % 3 == 0);
    MipOptions reference;
    reference.solver = MipSolver::kCbc;
    reference.time_limit_s = 1;
    const MipSolution expected = SolveMip(problem, reference);
    if (expected.status != SolveStatus::kOptimal) continue;  // too tight for branch and cut
    ++proven;
    const MipSolution solution = SolveMip(problem);
    ASSERT_EQ(solution.status, SolveStatus::kOptimal);
    EXPECT_TRUE(WithinLimits(problem, solution.totals));
    EXPECT_NEAR(solution.objective, expected.objective, 1e-8);
    EXPECT_LE(LowerBound(problem), expected.objective + 1e-9);
  }
  EXPECT_GT(proven, 30);
}

TEST(MipTest, HintsChangeNothingButTheTime) {
  Random random(11);
  for (int i = 0; i < 200; ++i) {
    SCOPED_TRACE(i);
    const MipProblem problem = RandomProblem(random, i % 2 == 0);
    const MipSolution plain = SolveMip(problem);
    MipOptions options;
    for (size_t r = 0; r < problem.limits.size(); ++r) {
      options.hint.multipliers.push_back(1e3 * (random.Uniform() - 0.5));
    }
    for (const auto& group : problem.groups) {
      options.hint.choice.push_back(static_cast<int>(random.Below(group.size())));
    }
    EXPECT_EQ(SolveMip(problem, options).status, plain.status);
    EXPECT_DOUBLE_EQ(SolveMip(problem, options).objective, plain.objective);
    if (plain.status != SolveStatus::kOptimal) continue;
    options.hint = {plain.multipliers, plain.choice};
    EXPECT_DOUBLE_EQ(SolveMip(problem, options).objective, plain.objective);
  }
}

// Limits that leave a single total: no partial choice beats another one there.
TEST(MipTest, TotalsCanBeDemandedExactly) {
  MipProblem problem = HardProblem(12, 2);
  std::vector<int> choice;
  for (size_t g = 0; g < problem.groups.size(); ++g) choice.push_back(static_cast<int>(g % 8));
  const std::vector<double> totals = ChoiceTotals(problem, choice);
  for (size_t r = 0; r < 2; ++r) problem.limits[r].low = problem.limits[r].high = totals[r];
  const MipSolution solution = SolveMip(problem);
  EXPECT_EQ(solution.status, SolveStatus::kOptimal);
  EXPECT_EQ(solution.choice, choice);  // no other of the 8^12 sums up to the same
}

// The least score of every pair of totals, group by group: costs are whole numbers here.
double ByDynamicProgramming(const MipProblem& problem, int first, int second) {
  std::map<std::pair<int, int>, double> best = {{{0, 0}, 0}};
  for (const auto& group : problem.groups) {
    std::map<std::pair<int, int>, double> next;
    for (const auto& [totals, score] : best) {
      for (const MipOption& option : group) {
        const std::pair<int, int> sum = {totals.first + static_cast<int>(option.costs[0]),
                                         totals.second + static_cast<int>(option.costs[1])};
        const auto [at, is_new] = next.try_emplace(sum, score + option.score);
        if (!is_new) at->second = std::min(at->second, score + option.score);
      }
    }
    best = std::move(next);
  }
  return best.at({first, second});
}

TEST(MipTest, WholeTotalsDemandedExactlyAreMetByTheBestOfManyChoices) {
  for (const int groups : {14, 24}) {
    for (uint64_t seed = 1; seed <= 5; ++seed) {
      SCOPED_TRACE(seed);
      Random random(seed);
      MipProblem problem;
      problem.limits = {{.resource = "kv_heads"}, {.resource = "layers"}};
      std::vector<int> choice;
      for (int g = 0; g < groups; ++g) {
        auto& group = problem.groups.emplace_back();
        for (int o = 0; o < 8; ++o) {
          group.push_back(
              {"option" + std::to_string(o),
               random.Uniform(),
               {static_cast<double>(random.Below(9)), static_cast<double>(random.Below(9))}});
        }
        choice.push_back(static_cast<int>(random.Below(8)));
      }
      const std::vector<double> totals = ChoiceTotals(problem, choice);
      for (size_t r = 0; r < 2; ++r) problem.limits[r].low = problem.limits[r].high = totals[r];
      const MipSolution solution = SolveMip(problem);
      EXPECT_EQ(solution.status, SolveStatus::kOptimal);
      EXPECT_EQ(solution.totals, totals);
      EXPECT_NEAR(
          solution.objective,
          ByDynamicProgramming(problem, static_cast<int>(totals[0]), static_cast<int>(totals[1])),
          1e-9);
    }
  }
}

TEST(MipTest, PricesAreWhatTheLimitsCost) {
  // One unit more saves half a point: from 18 to 23 the score falls from 1 to 0, and so on.
  MipProblem problem;
  problem.limits = {{.resource = "memory", .high = 5.5}};
  for (int g = 0; g < 10; ++g) problem.groups.push_back({{"full", 0, {1}}, {"none", 0.5, {0}}});
  const MipSolution solution = SolveMip(problem);
  EXPECT_DOUBLE_EQ(solution.objective, 2.5);
  ASSERT_EQ(solution.multipliers.size(), 1u);
  EXPECT_NEAR(solution.multipliers[0], 0.5, 1e-9);
}

// CBC's own tolerance is 1e-7 or coarser where these two differ by 1e-8.
TEST(MipTest, KeepsAlmostEqualChoicesApart) {
  const double million = 1e6;
  MipProblem problem{{{{"over", 0, {million * (1 + 2e-9)}}, {"within", 1, {million}}},
                      {{"rest", 0, {50 * million}}, {"small", 2, {0}}}},
                     {{.resource = "parameters", .high = 51 * million}}};
  MipSolution solution = SolveMip(problem);  // 2e-9 of one million vanishes in 51 million
  EXPECT_THAT(solution.choice, ElementsAre(0, 0));
  problem.limits[0].high = million;
  solution = SolveMip(problem);
  EXPECT_THAT(solution.choice, ElementsAre(1, 1));

  const MipProblem close{{{{"a", 1 + 1e-8, {}}, {"b", 1, {}}, {"c", 1.5, {}}}}, {}};
  EXPECT_THAT(SolveMip(close).choice, ElementsAre(1));
}

// Nine groups for which CBC's cuts find that nothing is within the limits.
MipProblem CalledInfeasibleByCbc() {
  return {{
              {{"a", -0.46526472610099534, {0.1, 0.30000000000000004, 0.2}},
               {"b", 2.0, {0.30000000000000004, 0.3, 0.8999999999999999}}},
              {{"a", 9.162612066136409e-13, {0.30000000000000004, 0.6, 0.6000000000000001}},
               {"b", 0.0, {0.4, 0.8999999999999999, 0.8999999999999999}}},
              {{"a", 0.1302949767181022, {0.6000000000000001, 0.2, 0.6}},
               {"b", 2.0, {0.3, 0.30000000000000004, 0.6000000000000001}}},
              {{"a", 4.817399457777061e-13, {0.30000000000000004, 0.3, 0.1}},
               {"b", 1.0, {0.8999999999999999, 0.8999999999999999, 0.3}}},
              {{"a", 0.0, {0.2, 0.6, 0.6}}, {"b", -0.879077404496881, {0.3, 0.2, 0.4}}},
              {{"a", -0.38410929867634125, {0.2, 0.2, 0.2}},
               {"b", 0.9458510762879849, {0.30000000000000004, 0.30000000000000004, 0.3}}},
              {{"a", 2.0, {0.3, 0.3, 0.4}},
               {"b",
                -0.9879250817215931,
                {0.6000000000000001, 0.8999999999999999, 0.6000000000000001}}},
              {{"a", -0.2915623079135682, {0.2, 0.2, 0.8999999999999999}},
               {"b", 0.0, {0.8999999999999999, 0.30000000000000004, 0.2}}},
              {{"a", 0.36458297430766384, {0.6000000000000001, 0.30000000000000004, 0.2}},
               {"b", 0.0, {0.2, 0.6, 0.4}}},
          },
          {{.resource = "memory", .high = 2.5200000000000005},
           {.resource = "parameters", .low = 3.3000000000000003},
           {.resource = "runtime", .low = 1.9000000000000001}}};
}

TEST(MipTest, AnotherSolversInfeasibleIsNoProof) {
  const MipProblem problem = CalledInfeasibleByCbc();
  const std::optional<double> best = BruteForce(problem);
  ASSERT_TRUE(best);
  for (const MipSolver solver : {MipSolver::kExact, MipSolver::kCbc}) {
    const MipSolution solution = SolveMip(problem, {.solver = solver});
    EXPECT_EQ(solution.status, SolveStatus::kOptimal);
    EXPECT_NEAR(solution.objective, *best, 1e-9);
  }
}

TEST(MipTest, DepthFirstSearchAgreesWithBruteForce) {
  Random random(33);
  for (int i = 0; i < 600; ++i) {
    SCOPED_TRACE(i);
    const MipProblem problem = RandomProblem(random, /*lattice=*/i % 2 == 0);
    const std::optional<double> best = BruteForce(problem);
    const MipCore core = MakeMipCore(problem);
    if (!core.feasible) {
      EXPECT_FALSE(best);
      continue;
    }
    const MipClock clock(std::numeric_limits<double>::infinity(), {});
    const LagrangeBound lagrange = MaximizeLagrangian(core, {}, clock);
    if (lagrange.infeasible) continue;
    const auto is_within = [&](const std::vector<int>& columns) {
      return WithinLimits(problem, ChoiceTotals(problem, ChoiceOfColumns(core, columns)));
    };
    const auto search = [&](double threshold, size_t nodes) {
      return SearchDepthFirst(core, lagrange, threshold, nodes, is_within, clock);
    };
    const double none = std::numeric_limits<double>::infinity();
    const DepthFirstResult found = search(none, 1'000'000);
    EXPECT_TRUE(found.complete);
    ASSERT_EQ(found.columns.empty(), !best);
    if (!best) continue;
    EXPECT_NEAR(ChoiceScore(problem, ChoiceOfColumns(core, found.columns)), *best, 1e-9);
    EXPECT_TRUE(search(found.score - 1e-6, 1'000'000).columns.empty()) << "nothing is better";
    EXPECT_FALSE(search(none, 1).complete) << "one partial choice decides nothing";
  }
}

TEST(MipTest, WhatALimitToleratesDoesNotGrowWithOptionsThatAreNotChosen) {
  MipProblem problem{{{{"over", 0, {10.005}}, {"huge", 5, {1e15}}, {"within", 1, {9}}}},
                     {{.resource = "memory", .high = 10}}};
  for (const MipSolver solver : {MipSolver::kExact, MipSolver::kCbc})
    EXPECT_THAT(SolveMip(problem, {.solver = solver}).choice, ElementsAre(2));
  EXPECT_FALSE(WithinLimits(problem, {10.005}));
  problem.groups[0][0].costs[0] = 10 * (1 + 1e-10);
  EXPECT_THAT(SolveMip(problem).choice, ElementsAre(0)) << "a limit's own tolerance";
}

TEST(MipTest, TheBoundOfAnOptimumIsItsScoreAndNoBoundIsAboveTheObjective) {
  Random random(7);
  for (int i = 0; i < 200; ++i) {
    const MipProblem problem = MediumProblem(random, /*lattice=*/false);
    for (const MipSolver solver : {MipSolver::kExact, MipSolver::kCbc}) {
      if (solver == MipSolver::kCbc && i >= 20) continue;
      const MipSolution solution = SolveMip(problem, {.explain = false, .solver = solver});
      EXPECT_LE(solution.bound, solution.objective);
      if (solution.status != SolveStatus::kOptimal) continue;
      EXPECT_EQ(solution.bound, solution.objective);
      EXPECT_EQ(solution.gap, 0);
    }
  }
}

// The bound that prices give, by its definition.
double BoundAt(const MipCore& core, const std::vector<double>& prices) {
  double least = 0, refund = 0;
  for (size_t g = 0; g < core.groups(); ++g) {
    double cheapest = std::numeric_limits<double>::infinity();
    for (int c = core.first[g]; c < core.first[g + 1]; ++c) {
      double value = core.score[static_cast<size_t>(c)];
      for (size_t r = 0; r < core.n_rows(); ++r) value += prices[r] * core.costs(c)[r];
      cheapest = std::min(cheapest, value);
    }
    least += cheapest;
  }
  for (size_t r = 0; r < core.n_rows(); ++r) {
    if (prices[r] > 0) refund += prices[r] * core.rows[r].high;
    if (prices[r] < 0) refund += prices[r] * core.rows[r].low;
  }
  return least - refund;
}

TEST(MipTest, TheBestOfAllBoundsCountsNotTheLast) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const MipCore core = MakeMipCore(HardProblem(30, seed));
    const MipClock no_end(std::numeric_limits<double>::infinity(), {}), over(0, {});
    const LagrangeBound full = MaximizeLagrangian(core, {}, no_end);
    // From the best prices on, the first rounds try worse ones.
    EXPECT_GE(MaximizeLagrangian(core, full.prices, over).bound, full.bound - 1e-12);
    EXPECT_NEAR(BoundAt(core, full.prices), full.bound, 1e-12);
  }
}

TEST(MipTest, LimitsThatContradictByLittleAreFoundOutByHighPrices) {
  // What a choice does not use of the one it uses of the other: together they leave 8 - 5e-6.
  MipProblem problem{{}, {{.resource = "one", .high = 4 - 5e-6}, {.resource = "other", .high = 4}}};
  for (int g = 0; g < 8; ++g) {
    auto& group = problem.groups.emplace_back();
    for (int o = 0; o <= 4; ++o)
      group.push_back({std::to_string(o), 0.1 * o, {0.25 * o, 1 - 0.25 * o}});
  }
  const MipCore core = MakeMipCore(problem);
  ASSERT_TRUE(core.feasible) << "each can be met alone";
  const MipClock no_end(std::numeric_limits<double>::infinity(), {});
  EXPECT_TRUE(MaximizeLagrangian(core, {}, no_end).infeasible);
}

TEST(MipTest, LargeCommonCostsCostNoPrecision) {
  MipProblem problem;
  problem.limits = {{.resource = "bytes", .fixed = 1e12}};
  for (int g = 0; g < 4; ++g) {
    problem.groups.push_back({{"big", 0, {1e9 + 1}}, {"small", 1.0 + g, {1e9}}});
  }
  problem.limits[0].high = 1e12 + 4e9;  // tolerates 1,004 bytes
  EXPECT_EQ(SolveMip(problem).objective, 0);
  for (auto& group : problem.groups) group[0].costs[0] += 1000;
  EXPECT_EQ(SolveMip(problem).objective, 1 + 2 + 3);  // one of the four fits, the dearest to lose
}

TEST(MipTest, InfeasibleNamesALimitBeyondReach) {
  const MipSolution solution = SolveMip(TwoLayers(2));
  EXPECT_EQ(solution.status, SolveStatus::kInfeasible);
  EXPECT_TRUE(solution.choice.empty());
  EXPECT_EQ(solution.explanation,
            "memory_mib <= 2 cannot be met by any choice: the least possible is 3");
}

TEST(MipTest, InfeasibleNamesALowerLimitBeyondReach) {
  MipProblem problem = TwoLayers(100);
  problem.limits[0].low = 50;
  EXPECT_EQ(SolveMip(problem).explanation,
            "memory_mib >= 50 cannot be met by any choice: the most possible is 23");
}

TEST(MipTest, InfeasibleTellsWhatTheOtherLimitsLeave) {
  MipProblem problem;
  problem.limits = {{.resource = "memory", .high = 1}, {.resource = "time", .high = 10}};
  problem.groups = {{{"wide", 0, {2, 20}}, {"narrow", 0, {5, 10}}}};
  EXPECT_EQ(SolveMip(problem).explanation,
            "memory <= 1 cannot be met by any choice: the least possible is 2, "
            "and 5 with the other limits kept");
}

TEST(MipTest, InfeasibleNamesTheLimitThatHasToMoveLeast) {
  // Each limit can be met, never both; 8 -> 9 is a smaller step than 40 -> 100.
  MipProblem problem;
  problem.limits = {{.resource = "time", .high = 40}, {.resource = "memory", .high = 8}};
  problem.groups = {{{"a", 0, {100, 1}}, {"b", 0, {40, 9}}}};
  EXPECT_EQ(SolveMip(problem).explanation,
            "memory <= 8 can be met alone (the least possible is 1), but not together with the "
            "other limits: the nearest value that works is 9");
  problem.limits[1].high = 9;
  EXPECT_EQ(SolveMip(problem).status, SolveStatus::kOptimal);
}

TEST(MipTest, InfeasibleInAGapBetweenTotalsNamesTheNearerEnd) {
  MipProblem problem = TwoLayers(17);
  problem.limits[0].low = 14;  // totals are 3, 8, 13, 18, 23
  EXPECT_THAT(SolveMip(problem).explanation,
              AllOf(HasSubstr("memory_mib <= 17"), HasSubstr("nearest value that works is 18")));
  problem.limits[0] = {.resource = "memory_mib", .low = 13.5, .high = 17, .fixed = 3};
  EXPECT_THAT(SolveMip(problem).explanation,
              AllOf(HasSubstr("memory_mib >= 13.5"), HasSubstr("nearest value that works is 13")));
}

TEST(MipTest, InfeasibleListsEveryLimitThatCouldMove) {
  MipProblem problem;
  problem.limits = {{.resource = "time", .high = 40}, {.resource = "memory", .high = 8}};
  problem.groups = {{{"a", 0, {100, 1}}, {"b", 0, {40, 9}}}};
  const MipSolution solution = SolveMip(problem);
  ASSERT_EQ(solution.nearest.size(), 2u);
  EXPECT_EQ(solution.nearest[0].resource, "time");
  EXPECT_EQ(solution.nearest[0].asked, 40);
  EXPECT_EQ(solution.nearest[0].works, 100);
  EXPECT_EQ(solution.nearest[1].resource, "memory");
  EXPECT_EQ(solution.nearest[1].works, 9);
}

TEST(MipTest, InfeasibleWidensAllLimitsWhenNoSingleOneHelps) {
  MipProblem problem;
  problem.limits = {{.resource = "time", .high = 50}, {.resource = "memory", .high = 5}};
  problem.groups = {{{"a", 0, {100, 10}}}};
  EXPECT_THAT(SolveMip(problem).explanation,
              AllOf(HasSubstr("the other limits cannot be met together either"),
                    HasSubstr("would work: time <= 100"), HasSubstr("memory <= 10")));
}

TEST(MipTest, AnExplanationThatHadNoTimeClaimsNothingOfTheOtherLimits) {
  const MipOptions stopped{.should_stop = [] { return true; }, .explain = true};
  MipProblem problem;
  problem.limits = {{.resource = "memory", .high = 1}, {.resource = "time", .high = 10}};
  problem.groups = {{{"wide", 0, {2, 20}}, {"narrow", 0, {5, 10}}}};
  MipSolution solution = SolveMip(problem, stopped);
  EXPECT_EQ(solution.status, SolveStatus::kInfeasible);
  EXPECT_EQ(solution.explanation,
            "memory <= 1 cannot be met by any choice: the least possible is 2");
  problem.limits = {{.resource = "time", .high = 40}, {.resource = "memory", .high = 8}};
  problem.groups = {{{"a", 0, {100, 1}}, {"b", 0, {40, 9}}}};
  solution = SolveMip(problem, stopped);
  EXPECT_EQ(solution.status, SolveStatus::kInfeasible);
  EXPECT_EQ(
      solution.explanation,
      "each limit can be met alone, but no choice meets all of them; there was no time to find "
      "out which one to move");
}

TEST(MipTest, InfeasibleNamesContradictingBounds) {
  MipProblem problem = TwoLayers(5);
  problem.limits[0].low = 6;
  EXPECT_EQ(SolveMip(problem).explanation,
            "memory_mib must be at least 6 and at most 5, which contradict");
}

std::string MessageOf(const MipProblem& problem) {
  try {
    (void)SolveMip(problem);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(MipTest, RefusesWhatIsNotANumber) {
  const double nan = std::nan("");
  const double infinity = std::numeric_limits<double>::infinity();
  MipProblem problem = TwoLayers(10);
  problem.groups[1][2].score = nan;
  EXPECT_EQ(MessageOf(problem), "group 1, option 'none': score is nan");
  problem = TwoLayers(10);
  problem.groups[0][1].costs[0] = infinity;
  EXPECT_EQ(MessageOf(problem), "group 0, option 'half': cost 'memory_mib' is inf");
  EXPECT_EQ(MessageOf(TwoLayers(nan)),
            "limit on 'memory_mib' is not a number: low -inf, high nan, fixed 3");
  problem = TwoLayers(10);
  problem.groups[1].clear();
  EXPECT_EQ(MessageOf(problem), "group 1 has no options");
  EXPECT_EQ(MessageOf({}), "nothing to choose: there are no groups");
  problem = TwoLayers(10);
  problem.groups[0][0].costs.clear();
  EXPECT_THROW((void)SolveMip(problem), BugError);
}

TEST(MipTest, AnInterruptedSearchIsNotCalledOptimal) {
  const MipProblem problem = HardProblem(60, 1);
  const MipSolution solution =
      SolveMip(problem, {.should_stop = [] { return true; }, .explain = true});
  ASSERT_NE(solution.status, SolveStatus::kOptimal);
  ASSERT_NE(solution.status, SolveStatus::kInfeasible);
  EXPECT_LE(solution.bound, solution.objective);
  if (solution.status == SolveStatus::kFeasible) {
    EXPECT_TRUE(WithinLimits(problem, solution.totals));
    EXPECT_GT(solution.gap, 0);
  } else {
    EXPECT_THAT(solution.explanation, HasSubstr("no choice within the limits was found in"));
  }
}

TEST(MipTest, NoTimeMeansNoSolution) {
  const MipSolution solution =
      SolveMip(TwoLayers(23), {.time_limit_s = 0, .should_stop = {}, .explain = true});
  EXPECT_EQ(solution.status, SolveStatus::kNoSolution);
  EXPECT_TRUE(solution.choice.empty());
}

// The published block library of Llama-3.3-70B: 80 layers of 16 variants.
class LlamaLibraryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* data = std::getenv("PUZZLE_DATA");
    const std::filesystem::path folder =
        data != nullptr ? std::filesystem::path(data)
                        : std::filesystem::path(PUZZLE_SOURCE_DIR) / "../shared/data";
    std::ifstream file(folder / "llama-3.3-70b/block_library.json");
    if (!file) GTEST_SKIP() << "no llama-3.3-70b in " << folder << " (set PUZZLE_DATA)";
    const auto library = nlohmann::ordered_json::parse(file);
    problem_.limits = {{.resource = "memory_mib"}, {.resource = "runtime_ms"}};
    for (const auto& layer : library) {
      auto& group = problem_.groups.emplace_back();
      for (const auto& [name, variant] : layer.items()) {
        const auto& stats = variant["stats"];
        group.push_back(
            {name, variant["metrics"]["kl_div"], {stats["memory_mib"], stats["runtime_ms"]}});
      }
    }
    ASSERT_EQ(problem_.groups.size(), 80u);
  }

  MipProblem problem_;
};

TEST_F(LlamaLibraryTest, MemoryAndRuntimeReachTheKnownOptimum) {
  problem_.limits[0].high = 80000;
  problem_.limits[1].high = 51200;
  const MipSolution solution = SolveMip(problem_);
  EXPECT_EQ(solution.status, SolveStatus::kOptimal);
  EXPECT_NEAR(solution.objective, 6.861455, 5e-7);
  EXPECT_NEAR(solution.totals[0], 79994.6, 0.05);
  EXPECT_NEAR(solution.totals[1], 46980.2, 0.05);
}

TEST_F(LlamaLibraryTest, MemoryAloneReachesTheKnownOptimum) {
  problem_.limits[0].high = 40000;
  const MipSolution solution = SolveMip(problem_);
  EXPECT_EQ(solution.status, SolveStatus::kOptimal);
  EXPECT_NEAR(solution.objective, 18.935023, 5e-7);
  EXPECT_NEAR(solution.totals[0], 39998.9, 0.05);
  EXPECT_NEAR(solution.totals[1], 25166.2, 0.05);
}

TEST_F(LlamaLibraryTest, CbcAgreesOnMemoryAlone) {
  problem_.limits[0].high = 40000;
  MipOptions options;
  options.solver = MipSolver::kCbc;
  EXPECT_NEAR(SolveMip(problem_, options).objective, 18.935023, 5e-7);
}

TEST_F(LlamaLibraryTest, APoolKeepsItsDistance) {
  const double parent_memory = 80 * 1437.109375, parent_runtime = 80 * 816.9723410644532;
  problem_.limits[0].high = 0.85 * parent_memory;
  problem_.limits[1].high = 0.85 * parent_runtime;
  SearchSettings settings;
  settings.pool = 3;
  settings.distance = 20;
  const auto pool = Search(problem_, settings);
  ASSERT_EQ(pool.size(), 3u);
  const double objective[] = {3.282073, 3.341735, 3.382206};
  const double memory[] = {96418.0, 96607.1, 96238.0};
  const double runtime[] = {55547.9, 55540.0, 55552.8};
  for (int i = 0; i < 3; ++i) {
    SCOPED_TRACE(i);
    EXPECT_EQ(pool[i].status, SolveStatus::kOptimal);
    EXPECT_NEAR(pool[i].objective, objective[i], 5e-7);
    ASSERT_EQ(pool[i].totals.size(), 2u);
    EXPECT_NEAR(pool[i].totals[0], memory[i], 0.05);
    EXPECT_NEAR(pool[i].totals[1], runtime[i], 0.05);
    for (int j = 0; j < i; ++j) {
      int different = 0;
      for (size_t g = 0; g < 80; ++g) different += pool[i].choice[g] != pool[j].choice[g] ? 1 : 0;
      EXPECT_GE(different, 20);
    }
  }
}

}  // namespace
}  // namespace puzzle
