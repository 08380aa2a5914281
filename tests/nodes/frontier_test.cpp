#include "nodes/search/frontier.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "io/error.h"

namespace puzzle {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Eight layers that can be dropped; the later, the dearer. All of them use 80 MiB, and 20 are
// fixed.
VariantTable EightLayers(double batch = 0) {
  VariantTable table;
  table.resources = {"memory_mib"};
  table.metrics = {"kl"};
  table.fixed = {20};
  table.batch = batch;
  for (int layer = 0; layer < 8; ++layer) {
    table.groups.push_back({"layer_" + std::to_string(layer),
                            {{"own", {10 + batch}, {0}}, {"none", {0}, {1.0 + layer}}}});
  }
  return table;
}

Frontier SweepOf(const std::vector<VariantTable>& tables, const std::string& range,
                 std::vector<std::string> baselines = {}) {
  SweepRequest request{ReadBudgetRange(range), {{"kl", 1}}, {}, std::move(baselines)};
  return Sweep(tables, request, json::object(), json::object(), [](const auto&) {});
}

TEST(FrontierTest, AGridSolvesEveryBudget) {
  const Frontier frontier = SweepOf({EightLayers()}, "memory_mib=60..100:5");
  std::vector<double> budgets, objectives;
  for (const FrontierPoint& point : frontier.points) {
    budgets.push_back(point.budget.value);
    objectives.push_back(point.solution.objective);
    EXPECT_EQ(point.solution.status, SolveStatus::kOptimal);
    EXPECT_FALSE(point.dominated);
  }
  EXPECT_THAT(budgets, ElementsAre(60, 70, 80, 90, 100));
  EXPECT_THAT(objectives, ElementsAre(1 + 2 + 3 + 4, 1 + 2 + 3, 1 + 2, 1, 0));
}

TEST(FrontierTest, PercentagesAreOfTheParentAndBudgetsOutOfReachStay) {
  const Frontier frontier = SweepOf({EightLayers()}, "memory_mib=10%..100%:10");
  ASSERT_EQ(frontier.points.size(), 10u);
  EXPECT_EQ(frontier.points[0].solution.status, SolveStatus::kInfeasible);
  EXPECT_TRUE(frontier.points[0].variants.empty());
  EXPECT_DOUBLE_EQ(frontier.points[5].totals.at("memory_mib"), 60);
  EXPECT_THAT(FrontierTable(frontier), HasSubstr("infeasible"));
}

TEST(FrontierTest, BudgetsThatBuyNothingMoreAreMarked) {
  const Frontier frontier = SweepOf({EightLayers()}, "memory_mib=95..105:3");
  EXPECT_FALSE(frontier.points[0].dominated);  // 90 of 95
  EXPECT_FALSE(frontier.points[1].dominated);  // 100 of 100
  EXPECT_TRUE(frontier.points[2].dominated);   // 100 of 105, the same child
}

TEST(FrontierTest, BisectionPutsPointsWhereTheObjectiveChanges) {
  const Frontier frontier = SweepOf({EightLayers()}, "memory_mib=20..1000:9:bisect");
  ASSERT_EQ(frontier.points.size(), 9u);
  int within = 0;
  for (size_t i = 0; i < frontier.points.size(); ++i) {
    if (i > 0) {
      EXPECT_LT(frontier.points[i - 1].budget.value, frontier.points[i].budget.value);
    }
    within += frontier.points[i].budget.value <= 120 ? 1 : 0;
  }
  EXPECT_GE(within, 5);  // of an even grid one
}

TEST(FrontierTest, BatchesAreSweptAndComparedTogether) {
  // A larger batch needs more memory in every layer and gives nothing for it here.
  const Frontier frontier = SweepOf({EightLayers(1), EightLayers(2)}, "memory_mib=60..116:8");
  ASSERT_EQ(frontier.points.size(), 16u);
  for (size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(frontier.points[i].batch, 1);
    EXPECT_EQ(frontier.points[8 + i].batch, 2);
    EXPECT_LE(frontier.points[i].solution.objective, frontier.points[8 + i].solution.objective);
  }
  EXPECT_THAT(FrontierTable(frontier), HasSubstr("batch"));
  EXPECT_THAT(FrontierSvg(frontier), HasSubstr("optimum, batch 2"));
}

TEST(FrontierTest, BaselinesStandInThePicture) {
  const Frontier frontier = SweepOf({EightLayers()}, "memory_mib=60..90:4", {"greedy", "uniform"});
  EXPECT_EQ(frontier.baselines.size(), 8u);
  const std::string svg = FrontierSvg(frontier);
  EXPECT_THAT(svg, HasSubstr("<svg xmlns=\"http://www.w3.org/2000/svg\""));
  EXPECT_THAT(svg, HasSubstr(">greedy</text>"));
  EXPECT_THAT(svg, HasSubstr(">uniform (far above)</text>"));  // drops all eight: 36
  EXPECT_THAT(svg, HasSubstr(">memory_mib</text>"));
  EXPECT_EQ(svg.substr(svg.size() - 7), "</svg>\n");
}

TEST(FrontierTest, ABaselineThatMaximisesParametersKnowsThem) {
  VariantTable table = EightLayers();
  table.resources.emplace_back("num_params");
  table.fixed.push_back(0);
  for (size_t layer = 0; layer < 8; ++layer) {
    table.groups[layer].variants[0].costs.push_back(layer == 5 ? 1 : 2);
    table.groups[layer].variants[1].costs.push_back(0);
  }
  // 90 MiB of 100: one layer goes, and layer 5 has the fewest parameters.
  const Frontier frontier = SweepOf({table}, "memory_mib=90..90:2", {"max_params"});
  ASSERT_EQ(frontier.baselines.size(), 2u);
  EXPECT_THAT(frontier.baselines[0].variants, ElementsAre(0, 0, 0, 0, 0, 1, 0, 0));
}

TEST(FrontierTest, APictureWithoutPointsSaysSo) {
  EXPECT_THAT(FrontierSvg(SweepOf({EightLayers()}, "memory_mib=1..2:2")),
              HasSubstr("no budget can be met"));
}

TEST(FrontierTest, WrongRangesAreRefusedByName) {
  const auto failure = [](const std::string& range) -> std::string {
    try {
      (void)ReadBudgetRange(range);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  for (const char* text :
       {"memory_mib", "=1..2:3", "memory_mib=1..2", "memory_mib=1:3", "memory_mib=1:2..3"}) {
    EXPECT_THAT(failure(text), HasSubstr("expected RESOURCE=FROM..TO:POINTS")) << text;
  }
  EXPECT_THAT(failure("m=a..2:3"), HasSubstr("\"a\": expected a number or a percentage"));
  EXPECT_THAT(failure("m=1..2:x"), HasSubstr("\"x\" is not a number of points"));
  EXPECT_THAT(failure("m=1..2:1"), HasSubstr("2 to 100000 points, not 1"));
  EXPECT_THAT(failure("m=1..2%:3"), HasSubstr("both must be percentages, or none"));
  EXPECT_THAT(failure("throughput=1..2:3"), HasSubstr("throughput is no cost; latency_ms is"));
}

}  // namespace
}  // namespace puzzle
