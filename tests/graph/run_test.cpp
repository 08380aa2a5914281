// Whole runs: what runs, what is cached, what follows from failures.
#include <nlohmann/json.hpp>

#include "tests/graph/graph_test_fixture.h"

namespace puzzle::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class RunTest : public GraphTest {};

constexpr const char* kAbc = R"({
  "puzzle": 1,
  "nodes": {
    "a": {"kind": "text", "params": {"value": "x"}},
    "b": {"kind": "text", "params": {"value": "y"}},
    "c": {"kind": "concat", "in": {"parts": ["a", "b"]}}}})";

TEST_F(RunTest, EverythingRunsOnceAndThenNothing) {
  Load(kAbc);
  Run();
  EXPECT_EQ(ran(), Steps("a", "b", "c"));
  EXPECT_EQ(TextOf("c"), "x,y");
  EXPECT_EQ(report().ExitCode(), 0);
  Run();
  EXPECT_EQ(ran(), Steps());
  EXPECT_EQ(cached(), Steps("a", "b", "c"));
  EXPECT_EQ(TextOf("c"), "x,y");
}

TEST_F(RunTest, AChangedParameterRunsItsStepAndWhatDependsOnIt) {
  Load(kAbc);
  Run();
  Set("a.value=z");
  EXPECT_THAT(Forecasts(), ElementsAre("RUN a: params.value: \"x\" -> \"z\"", "HIT b",
                                       "WAIT c: waits for a"));
  Run();
  EXPECT_EQ(ran(), Steps("a", "c"));
  EXPECT_EQ(observer_.reasons["a"], "params.value: \"x\" -> \"z\"");
  EXPECT_EQ(observer_.reasons["c"], "input parts changed");
  EXPECT_EQ(TextOf("c"), "y,z");
}

}  // namespace
}  // namespace puzzle::testing
