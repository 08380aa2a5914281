#include "nodes/solver/label_search.h"

#include <gmock/gmock.h>

#include "nodes/solver/label_index.h"
#include "nodes/solver/label_schedule.h"
#include "tests/nodes/mip_problems.h"

namespace puzzle {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr size_t kManyLabels = 1 << 20;

MipClock Unlimited() {
  return {kInfinity, {}};
}

// Columns of the best choice within the limits, by trying everything.
double BestScore(const MipProblem& problem, const MipCore& core) {
  const std::optional<double> best = BruteForce(problem);
  return best ? (*best - core.score_offset) / core.score_unit : kInfinity;
}

TEST(LabelSearchTest, FindsTheBestChoiceWithinTheThresholdWhereverThatIs) {
  Random random(3);
  int found = 0;
  for (int i = 0; i < 600; ++i) {
    SCOPED_TRACE(i);
    const MipProblem problem = RandomProblem(random, /*lattice=*/i % 2 == 0);
    const MipCore core = MakeMipCore(problem);
    if (!core.feasible) continue;
    const LagrangeBound lagrange = MaximizeLagrangian(core, {}, Unlimited());
    if (lagrange.infeasible) continue;
    const double best = BestScore(problem, core);
    for (const double distance : {1e-9, 0.05, 0.3, 1.0, 5.0}) {
      const double threshold = lagrange.bound + distance;
      const LabelSearchResult result =
          SearchLabels(core, lagrange, threshold, kManyLabels, Unlimited());
      EXPECT_TRUE(result.complete);
      if (best <= threshold) {
        ASSERT_FALSE(result.columns.empty()) << distance;
        EXPECT_NEAR(result.score, best, 1e-9);
      }
      if (result.columns.empty()) continue;
      ++found;
      const std::vector<int> choice = ChoiceOfColumns(core, result.columns);
      EXPECT_TRUE(WithinLimits(problem, ChoiceTotals(problem, choice)));
      EXPECT_NEAR(core.ToProblem(result.score), ChoiceScore(problem, choice), 1e-9);
    }
  }
  EXPECT_GT(found, 500);
}

TEST(LabelSearchTest, StopsIncompleteWhenItNeedsMoreLabelsThanAllowed) {
  const MipCore core = MakeMipCore(HardProblem(40, 2));
  const LagrangeBound lagrange = MaximizeLagrangian(core, {}, Unlimited());
  EXPECT_FALSE(SearchLabels(core, lagrange, lagrange.bound + 0.2, 1000, Unlimited()).complete);
}

// Options of every group: the cheapest, and others by their excess.
LabelProblem Excesses(const std::vector<std::vector<double>>& groups, double distance) {
  LabelProblem problem;
  problem.distance = distance;
  for (const std::vector<double>& excesses : groups) {
    LabelGroup group{problem.groups.size(), {{0, 0, 0, {}}}};
    for (const double excess : excesses) group.options.push_back({1, excess, excess, {}});
    problem.groups.push_back(std::move(group));
  }
  return problem;
}

TEST(CutsTest, TiesMeetInTheMiddle) {
  const std::vector<double> cuts =
      CutsOf(Excesses(std::vector<std::vector<double>>(10, {0, 0, 0}), 1));
  ASSERT_EQ(cuts.size(), 11u);
  for (size_t p = 0; p < 5; ++p) EXPECT_EQ(cuts[p], kInfinity) << p;
  for (size_t p = 6; p <= 10; ++p) EXPECT_EQ(cuts[p], -kInfinity) << p;
}

TEST(CutsTest, SmallStepsAreSharedBetweenTheHalves) {
  const std::vector<double> cuts =
      CutsOf(Excesses(std::vector<std::vector<double>>(40, {0.05, 0.1}), 1));
  for (size_t p = 1; p <= 40; ++p) EXPECT_LE(cuts[p], cuts[p - 1]);
  EXPECT_GT(cuts[15], cuts[25]);
  EXPECT_NEAR(cuts[20], 0.5, 0.1);
}

// Two rows of totals, no excess.
Labels LabelsOf(const std::vector<double>& scores, const std::vector<double>& totals) {
  Labels labels;
  labels.rows = totals.size() / scores.size();
  labels.Resize(scores.size());
  labels.score = scores;
  labels.totals = totals;
  return labels;
}

std::vector<uint32_t> Kept(const Labels& labels, const std::vector<RowSense>& senses) {
  std::vector<uint32_t> ids;
  for (uint32_t id = 0; id < labels.size(); ++id) ids.push_back(id);
  KeepUndominated(labels, senses, ids);
  return ids;
}

TEST(LabelsTest, ALabelMovesWithAllThatItSays) {
  Labels labels = LabelsOf({1, 2, 3}, {10, 11, 20, 21, 30, 31});
  labels.excess = {0.1, 0.2, 0.3};
  labels.parent = {4, 5, 6};
  labels.group = {7, 8, 9};
  labels.column = {13, 14, 15};
  labels.Move(2, 0);
  EXPECT_THAT(labels.score, ElementsAre(3, 2, 3));
  EXPECT_THAT(labels.excess, ElementsAre(0.3, 0.2, 0.3));
  EXPECT_THAT(labels.parent, ElementsAre(6, 5, 6));
  EXPECT_THAT(labels.group, ElementsAre(9, 8, 9));
  EXPECT_THAT(labels.column, ElementsAre(15, 14, 15));
  EXPECT_THAT(labels.totals, ElementsAre(30, 31, 20, 21, 30, 31));
}

TEST(DominanceTest, ALabelGoesWhenAnotherIsNoWorseInAnything) {
  const Labels labels = LabelsOf({1, 2, 3, 3}, {5, 5, 4, 6, 5, 5, 3, 3});
  const RowSense less{true, false, 1e-15}, more{false, true, 1e-15}, any{false, false, 1e-15};
  EXPECT_THAT(Kept(labels, {less, less}), UnorderedElementsAre(0, 1, 3));  // 0 beats 2
  EXPECT_THAT(Kept(labels, {less, any}), UnorderedElementsAre(0, 1, 3));
  EXPECT_THAT(Kept(labels, {more, any}), UnorderedElementsAre(0));
  EXPECT_THAT(Kept(labels, {any, any}), UnorderedElementsAre(0));
}

TEST(DominanceTest, WhereBothSidesAreInReachOnlyEqualTotalsCompare) {
  const Labels labels = LabelsOf({1, 2, 3, 4}, {5, 9, 5, 8, 5, 9, 6, 1});
  const RowSense both{true, true, 1e-15}, less{true, false, 1e-15};
  EXPECT_THAT(Kept(labels, {both, less}), UnorderedElementsAre(0, 1, 3));
  EXPECT_THAT(Kept(labels, {both, both}), UnorderedElementsAre(0, 1, 3));
}

TEST(LabelIndexTest, FindsEveryLabelThatFits) {
  Random random(8);
  std::vector<double> scores, totals;
  std::vector<uint32_t> ids;
  for (uint32_t id = 0; id < 500; ++id) {
    ids.push_back(id);
    scores.push_back(0);
    for (int r = 0; r < 2; ++r) totals.push_back(2 * random.Uniform() - 1);
  }
  const Labels labels = LabelsOf(scores, totals);
  const std::vector<LabelRow> rows = {{-kInfinity, 0.3, 1}, {-0.4, kInfinity, -2}};
  const LabelIndex index(labels, ids, rows, 0.1);
  size_t looked_at = 0, fitting = 0;
  for (int i = 0; i < 200; ++i) {
    const double beside[] = {random.Uniform() - 0.5, random.Uniform() - 0.5};
    const double room = 0.1 * random.Uniform();
    const auto [begin, end] = index.Fitting(beside, room);
    looked_at += end - begin;
    std::vector<uint32_t> offered, missing;
    for (size_t place = begin; place < end; ++place) offered.push_back(index.id(place));
    for (const uint32_t id : ids) {
      double slack = 0;
      bool within = true;
      for (size_t r = 0; r < 2; ++r) {
        const double total = beside[r] + labels.totals_of(id)[r];
        within = within && total >= rows[r].low && total <= rows[r].high;
        slack += rows[r].Slack(total);
      }
      if (!within || slack > room) continue;
      ++fitting;
      if (std::find(offered.begin(), offered.end(), id) == offered.end()) missing.push_back(id);
    }
    EXPECT_THAT(missing, IsEmpty()) << i;
  }
  EXPECT_GT(fitting, 0u);
  EXPECT_LT(looked_at, 200u * 500u / 10);
}

TEST(LabelIndexTest, WithoutRowsEverythingFits) {
  const Labels labels = LabelsOf({1, 2, 3}, {});
  const LabelIndex index(labels, {0, 2}, {}, 1);
  EXPECT_EQ(index.Fitting(nullptr, 1), (std::pair<size_t, size_t>{0, 2}));
  EXPECT_EQ(index.score(1), 3);
}

}  // namespace
}  // namespace puzzle
