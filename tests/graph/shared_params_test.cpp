// Parameters that a graph says once.
#include "graph/plan/shared_params.h"

#include "tests/graph/graph_test_fixture.h"

namespace puzzle::testing {
namespace {

using ::testing::HasSubstr;

class SharedParamsTest : public GraphTest {
 protected:
  std::string Keyed(const std::string& step) { return plan_->steps[Find(step)].params.keyed; }
};

TEST_F(SharedParamsTest, WhatOneNodeSaysHoldsForThoseThatSayNothing) {
  Load(R"({"puzzle": 1, "nodes": {
    "a": {"kind": "agree", "params": {"value": "a"}},
    "b": {"kind": "agree", "foreach": {"v": ["x", "y"]}, "params": {"value": "${v}", "size": 16}},
    "c": {"kind": "agree", "params": {"size": 16}}}})");
  Plan();
  EXPECT_EQ(Keyed("a"), R"({"size":16,"value":"a"})");
  EXPECT_EQ(Keyed("b[v=y]"), R"({"size":16,"value":"y"})");
}

TEST_F(SharedParamsTest, TheKeyIsThatOfAGraphThatSaysItEverywhere) {
  Load(R"({"puzzle": 1, "nodes": {"a": {"kind": "agree"}, "b": {"kind": "agree",
    "params": {"value": "b"}}}})");
  Plan();
  EXPECT_EQ(Keyed("a"), R"({"size":8,"value":""})");
}

TEST_F(SharedParamsTest, TwoValuesAreRefusedByName) {
  Load(R"({"puzzle": 1, "nodes": {
    "costs": {"kind": "agree", "params": {"size": 8}},
    "blocks": {"kind": "agree", "params": {"size": 16}}}})");
  EXPECT_THAT(Problems(),
              HasSubstr(R"("size" is 16 here and 8 at node "costs"; a graph says it once)"));
  Load(R"({"puzzle": 1, "nodes": {
    "blocks": {"kind": "agree", "foreach": {"v": ["x", "y"]}, "params": {"value": "${v}", "size": 8},
      "overrides": [{"where": {"v": "x"}, "params": {"size": 24}}]}}})");
  EXPECT_THAT(Problems(), HasSubstr(R"("size" is 24 here and 8 at node "blocks")"));
  Load(R"({"puzzle": 1, "nodes": {
    "blocks": {"kind": "agree", "foreach": {"v": [8, 16]}, "params": {"size": "${v}"}}}})");
  EXPECT_THAT(Problems(), HasSubstr(R"(it cannot depend on the axis "v")"));
}

TEST_F(SharedParamsTest, ASettingReplacesItForAll) {
  Set("b.size=32");
  Load(R"({"puzzle": 1, "vars": {"n": 8}, "nodes": {
    "a": {"kind": "agree", "params": {"value": "a"}},
    "b": {"kind": "agree", "params": {"size": "${n}"}}}})");
  Plan();
  EXPECT_EQ(Keyed("a"), R"({"size":32,"value":"a"})");
}

TEST_F(SharedParamsTest, AnIncludedFileHasItsOwn) {
  WriteFile("base.json", R"({"puzzle": 1, "nodes": {"a": {"kind": "agree"}}})");
  source_ = folder() + "/main.json";
  Load(R"({"puzzle": 1, "include": {"base": {"file": "base.json"}},
    "nodes": {"b": {"kind": "agree", "params": {"size": 16}}}})");
  Plan();
  EXPECT_EQ(Keyed("base/a"), R"({"size":8,"value":""})");
}

}  // namespace
}  // namespace puzzle::testing
