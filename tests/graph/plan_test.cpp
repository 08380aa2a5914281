// Order, cycles and the cost of planning.
#include "graph/plan/plan.h"

#include <fmt/format.h>

#include <ctime>

#include "graph/view/draw.h"
#include "tests/graph/graph_test_fixture.h"

namespace puzzle::testing {
namespace {

using ::testing::HasSubstr;

class PlanTest : public GraphTest {
 protected:
  /// Seconds of the processor, which other programs do not prolong, to plan `n` elements of chains
  /// of five steps, the best of three.
  double Seconds(int n) {
    Load(fmt::format(R"({{"puzzle": 1, "vars": {{"n": {{"range": [0, {}]}}}}, "nodes": {{
      "a": {{"kind": "text", "foreach": {{"i": "${{n}}"}}, "params": {{"value": "${{i}}"}}}},
      "b": {{"kind": "upper", "foreach": {{"i": "${{n}}"}}, "in": {{"in": "a[i=${{i}}]"}}}},
      "c": {{"kind": "upper", "foreach": {{"i": "${{n}}"}}, "in": {{"in": "b[i=${{i}}]"}}}},
      "d": {{"kind": "upper", "foreach": {{"i": "${{n}}"}}, "in": {{"in": "c[i=${{i}}]"}}}},
      "e": {{"kind": "concat", "foreach": {{"i": "${{n}}"}}, "in": {{"parts": ["d[i=${{i}}]"]}}}},
      "all": {{"kind": "concat", "in": {{"parts": ["e"]}}}}}}}})",
                     n));
    double best = 1e9;
    for (int i = 0; i < 3; ++i) {
      const std::clock_t begin = std::clock();
      Plan();
      best = std::min(best, static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC);
    }
    return best;
  }
};

TEST_F(PlanTest, InputsComeBeforeTheirUsersWhateverTheOrderInTheFile) {
  Load(R"({"puzzle": 1, "nodes": {
    "c": {"kind": "concat", "in": {"parts": ["a", "b"]}},
    "b": {"kind": "upper", "in": {"in": "a"}},
    "a": {"kind": "text"}}})");
  Plan();
  std::vector<std::string> order;
  for (const StepId id : plan_->order) order.push_back(plan_->steps[id].name);
  EXPECT_THAT(order, ::testing::ElementsAre("a", "b", "c"));
  EXPECT_EQ(plan_->predecessors(Find("c")).size(), 2u);
  EXPECT_EQ(plan_->successors(Find("a")).size(), 2u);
}

TEST_F(PlanTest, CyclesAreNamedStepByStep) {
  Load(R"({"puzzle": 1, "nodes": {
    "a": {"kind": "upper", "in": {"in": "c[i=1]"}},
    "b": {"kind": "upper", "in": {"in": "a"}},
    "c": {"kind": "upper", "foreach": {"i": [0, 1]}, "in": {"in": "b"}},
    "after": {"kind": "upper", "in": {"in": "b"}}}})");
  EXPECT_THAT(Problems(),
              HasSubstr("steps wait for each other in a circle: a -> c[i=1] -> b -> a"));
  Load(R"({"puzzle": 1, "nodes": {"a": {"kind": "upper", "in": {"in": "a"}}}})");
  EXPECT_THAT(Problems(), HasSubstr("circle: a -> a"));
}

TEST_F(PlanTest, AllMistakesOfAGraphAreReportedAtOnce) {
  Load(R"({"puzzle": 1, "wrong": 1, "vars": {"x": "${y}"}, "nodes": {
    "a": {"kind": "upper", "in": {"in": "a"}},
    "b": {"kind": "nothing"},
    "c": {"kind": "text", "params": {"value": 3}},
    "d": {"kind": "concat", "in": {"parts": ["zzz"]}}}})");
  const std::string problems = Problems();
  for (const char* part : {"/wrong: unknown key", "/vars/x: \"${y}\"", "circle: a -> a",
                           "unknown kind \"nothing\"", "expected text", "no node \"zzz\""}) {
    EXPECT_THAT(problems, HasSubstr(part));
  }
}

TEST_F(PlanTest, PlanningTenThousandStepsTakesTimeInProportion) {
  const double small = Seconds(500);
  const double large = Seconds(4000);  // eight times as many
  EXPECT_LT(large, 24 * small + 0.05) << small << " s, then " << large << " s";
  EXPECT_LT(large, 5);
}

TEST_F(PlanTest, DrawingsShowNodesOrSteps) {
  Load(R"({"puzzle": 1, "nodes": {
    "t": {"kind": "text", "foreach": {"i": [1, 2]}},
    "c": {"kind": "concat", "in": {"parts": ["t"]}}}})");
  Plan();
  EXPECT_THAT(DrawDot(*plan_, false), HasSubstr("n0 [label=\"t\\ntext\\n2 steps\"];"));
  EXPECT_THAT(DrawDot(*plan_, false), HasSubstr("n0 -> n1 [label=\"parts\"];"));
  EXPECT_THAT(DrawDot(*plan_, true), HasSubstr("s0 -> s2;"));
  EXPECT_THAT(DrawMermaid(*plan_, false), HasSubstr("n0 -->|parts| n1"));
  EXPECT_THAT(DrawMermaid(*plan_, true), HasSubstr("s1[\"t[i=2]\"]"));
}

}  // namespace
}  // namespace puzzle::testing
