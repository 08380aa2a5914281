// Variables, `${...}` and `foreach`.
#include "graph/language/substitute.h"

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/graph/graph_test_fixture.h"

namespace puzzle::testing {
namespace {

using nlohmann::ordered_json;
using ::testing::HasSubstr;

class SubstituteTest : public GraphTest {
 protected:
  SubstituteTest() {
    scope_.SetVar("n", &n_);
    scope_.SetVar("list", &list_);
    scope_.SetVar("half", &half_);
  }
  ordered_json Of(const std::string& json) {
    const auto result = Substitute(ordered_json::parse(json), scope_, error_);
    return result ? *result : ordered_json("failed: " + error_.message + " " + error_.hint);
  }

  ordered_json n_ = 3, list_ = {1, "b"}, half_ = 0.5;
  Budget budget_;
  Scope scope_{budget_};
  SubstituteError error_;
};

TEST_F(SubstituteTest, AStringThatIsOneReferenceTakesTheTypedValue) {
  EXPECT_EQ(Of(R"("${n}")"), ordered_json(3));
  EXPECT_EQ(Of(R"("${vars.list}")"), ordered_json({1, "b"}));
  EXPECT_EQ(Of(R"({"a": ["${half}", {"b": "${n}"}]})"),
            ordered_json::parse(R"({"a": [0.5, {"b": 3}]})"));
}

TEST_F(SubstituteTest, AnythingElseIsConcatenatedAsText) {
  EXPECT_EQ(Of(R"("${n} of ${n}")"), "3 of 3");
  EXPECT_EQ(Of(R"("x${half}")"), "x0.5");
  EXPECT_EQ(Of(R"("costs $5 or $${n}")"), "costs $5 or ${n}");
}

TEST_F(SubstituteTest, MistakesSayWhatIsKnown) {
  EXPECT_EQ(Of(R"("${lits}")"), "failed: \"${lits}\" is not known here did you mean \"list\"?");
  EXPECT_EQ(Of(R"("a${list}")"), "failed: \"${list}\" is a list, which cannot be part of a text ");
  EXPECT_EQ(Of(R"("a${n")"), "failed: \"${n\" lacks its closing '}' ");
}

TEST_F(SubstituteTest, NumbersHaveOneSpelling) {
  EXPECT_EQ(NumberText(1), "1");
  EXPECT_EQ(NumberText(-0.0), "0");
  EXPECT_EQ(NumberText(0.1), "0.1");
  EXPECT_EQ(NumberText(1e-4), "1e-4");
  EXPECT_EQ(NumberText(2.5e-10), "2.5e-10");
  EXPECT_EQ(NumberText(3e5), "300000");
  EXPECT_EQ(NumberText(1e300), "1e+300");
}

TEST_F(SubstituteTest, VariablesMayUseEachOther) {
  Load(R"({"puzzle": 1, "vars": {"file": "${folder}/x", "folder": "${vars.root}/f", "root": "r"},
           "nodes": {"t": {"kind": "text", "params": {"value": "${file}"}}}})");
  Run();
  EXPECT_EQ(TextOf("t"), "r/f/x");
}

TEST_F(SubstituteTest, CirclesOfVariablesAreNamed) {
  Load(R"({"puzzle": 1, "vars": {"a": "${b}", "b": "${c}", "c": "${a}"}, "nodes": {}})");
  EXPECT_THAT(Problems(), HasSubstr("variables go round in a circle: a -> b -> c -> a"));
}

TEST_F(SubstituteTest, WhatIsWrittenAsItStandsIsNoReference) {
  Load(R"({"puzzle": 1, "vars": {"a": "x/$${b}/y", "b": "${a}"},
           "nodes": {"t": {"kind": "text", "params": {"value": "${b}"}}}})");
  Run();
  EXPECT_EQ(TextOf("t"), "x/${b}/y");
}

TEST_F(SubstituteTest, RangesAndLayerCountsBecomeLists) {
  Load(R"({"puzzle": 1, "vars": {"r": {"range": [2, 5]}, "l": {"layers_of": "${m}"},
                                 "m": "of-two-layers"}, "nodes": {
         "t": {"kind": "text", "foreach": {"i": "${r}", "j": "${l}", "k": {"range": [0, 1]}}}}})");
  Plan();
  ASSERT_EQ(plan_->steps.size(), 6u);
  EXPECT_EQ(plan_->steps[0].name, "t[i=2,j=0,k=0]");
  EXPECT_EQ(plan_->steps[5].name, "t[i=4,j=1,k=0]");
}

TEST_F(SubstituteTest, BadVariablesAreRefused) {
  Load(R"({"puzzle": 1, "vars": {"a": {"range": [3, 1]}, "b": {"rnage": [0, 1]},
           "c": {"layers_of": "nowhere"},
           "d": {"range": [-9223372036854775808, 9223372036854775807]},
           "e": {"range": [0, 18446744073709551615]},
           "f": {"range": [18446744073709551613, 18446744073709551615]}}, "nodes": {}})");
  const std::string problems = Problems();
  EXPECT_THAT(problems, HasSubstr("/vars/a: a range is [first, end]"));
  EXPECT_THAT(problems, HasSubstr("/vars/b: a variable is a scalar"));
  EXPECT_THAT(problems, HasSubstr("/vars/d: a range is [first, end]"));
  EXPECT_THAT(problems, HasSubstr("/vars/e: a range is [first, end]"));
  EXPECT_THAT(problems, HasSubstr("/vars/f: a range is [first, end]"));
  EXPECT_THAT(problems, HasSubstr("did you mean \"range\"?"));
  EXPECT_THAT(problems, HasSubstr("/vars/c: nowhere: no such checkpoint"));
}

TEST_F(SubstituteTest, AnAxisHidesTheVariableOfItsName) {
  Load(R"({"puzzle": 1, "vars": {"i": "v"}, "nodes": {
    "t": {"kind": "text", "foreach": {"i": ["x"]}, "params": {"value": "${i}${vars.i}"}}}})");
  Run();
  EXPECT_EQ(TextOf("t[i=x]"), "xv");
}

class ForeachTest : public GraphTest {
 protected:
  std::vector<std::string> Names() {
    Plan();
    std::vector<std::string> names;
    for (const Step& step : plan_->steps) names.push_back(step.name);
    return names;
  }
};

TEST_F(ForeachTest, NoElementsMakeNoStepsAndAnEmptyList) {
  Load(R"({"puzzle": 1, "vars": {"none": []}, "nodes": {
    "t": {"kind": "text", "foreach": {"i": "${none}"}},
    "c": {"kind": "concat", "in": {"parts": ["t"]}}}})");
  Run();
  EXPECT_EQ(ran(), Steps("c"));
  EXPECT_EQ(TextOf("c"), "");
}

TEST_F(ForeachTest, AnElementThatIsANumberIsFoundByAnySpelling) {
  Load(R"({"puzzle": 1, "vars": {"lr": 0.001}, "nodes": {
    "t": {"kind": "text", "foreach": {"rate": ["${lr}", 0.5], "layer": [1, 2]},
          "params": {"value": "${rate}/${layer}"}},
    "one": {"kind": "upper", "in": {"in": "t[layer=2,rate=${lr}]"}},
    "some": {"kind": "concat", "in": {"parts": ["t[rate=5e-1]"]}}}})");
  Set("vars.lr=10e-4");
  Run();
  EXPECT_EQ(TextOf("one"), "0.001/2");
  EXPECT_EQ(TextOf("some"), "0.5/1,0.5/2");
  ClearSettings();
  Load(R"({"puzzle": 1, "nodes": {
    "t": {"kind": "text", "foreach": {"version": ["1.1"]}},
    "u": {"kind": "upper", "in": {"in": "t[version=1.10]"}}}})");
  EXPECT_THAT(Problems(), HasSubstr("there is no step \"t[version=1.10]\""));
}

TEST_F(ForeachTest, OneElementIsStillAForeach) {
  Load(R"({"puzzle": 1, "nodes": {"t": {"kind": "text", "foreach": {"i": ["ffn:50%"]}}}})");
  EXPECT_THAT(Names(), ::testing::ElementsAre("t[i=ffn:50%]"));
}

TEST_F(ForeachTest, ExcludeTakesElementsAway) {
  Load(R"({"puzzle": 1, "nodes": {"t": {"kind": "text",
    "foreach": {"i": [0, 1, 2], "j": ["a", "b"]},
    "exclude": [{"i": 0, "j": "a"}, {"i": [1, 2], "j": "b"}]}}})");
  EXPECT_THAT(Names(), ::testing::ElementsAre("t[i=0,j=b]", "t[i=1,j=a]", "t[i=2,j=a]"));
}

TEST_F(ForeachTest, OverridesChangeSomeElementsAndLaterOnesWin) {
  Load(R"({"puzzle": 1, "nodes": {"t": {"kind": "text", "foreach": {"i": [0, 1, 2]},
    "params": {"value": "base"},
    "overrides": [{"where": {"i": [1, 2]}, "params": {"value": "first${i}"}},
                  {"where": {"i": 2}, "params": {"value": "second"}}]}}})");
  Run();
  EXPECT_EQ(TextOf("t[i=0]"), "base");
  EXPECT_EQ(TextOf("t[i=1]"), "first1");
  EXPECT_EQ(TextOf("t[i=2]"), "second");
}

constexpr const char* kSubstituteGrid =
    R"({"puzzle": 1, "vars": {"l": {"range": [0, 3]}, "v": ["a", "b"]},
  "nodes": {
    "t": {"kind": "text", "foreach": {"layer": "${l}", "variant": "${v}"},
          "params": {"value": "${layer}${variant}"}},
    "u": {"kind": "upper", "foreach": {"variant": "${v}", "layer": "${l}"},
          "in": {"in": "t[variant=${variant},layer=${layer}]"}},
    "row": {"kind": "concat", "foreach": {"layer": "${l}"},
            "in": {"parts": ["t[layer=${layer}]", "u[layer=${layer},variant=a]"]}},
    "all": {"kind": "concat", "in": {"parts": "t"}}}})";

TEST_F(ForeachTest, ReferencesSelectOneSomeOrAllSteps) {
  Load(kSubstituteGrid);
  Run();
  EXPECT_EQ(TextOf("u[variant=b,layer=1]"), "1B");
  EXPECT_EQ(TextOf("row[layer=2]"), "2A,2a,2b");
  EXPECT_EQ(TextOf("all"), "0a,0b,1a,1b,2a,2b");
}

TEST_F(ForeachTest, ChangingOneElementRunsItsConeAndNothingElse) {
  Load(kSubstituteGrid);
  Run();
  Set("t[layer=1,variant=b].value=new");
  Run();
  EXPECT_EQ(ran(), Steps("t[layer=1,variant=b]", "u[variant=b,layer=1]", "row[layer=1]", "all"));
  EXPECT_EQ(TextOf("all"), "0a,0b,1a,2a,2b,new");
}

TEST_F(ForeachTest, BadReferencesSayWhatWouldBeGood) {
  Load(R"({"puzzle": 1, "nodes": {
    "t": {"kind": "text", "foreach": {"layer": [0, 1], "v": ["x"]}},
    "n": {"kind": "count", "in": {"in": "t[layer=0,v=x]"}},
    "a": {"kind": "upper", "in": {"in": "t"}},
    "b": {"kind": "upper", "in": {"in": "t[layer=7]"}},
    "c": {"kind": "upper", "in": {"in": "t[laier=0]"}},
    "d": {"kind": "upper", "in": {"in": "tt"}},
    "e": {"kind": "upper", "in": {"in": ["t[layer=0]"]}},
    "f": {"kind": "upper", "in": {"in": "n"}},
    "g": {"kind": "upper"},
    "h": {"kind": "concat", "in": {"parts": [1]}},
    "i": {"kind": "concat", "in": {"parts": ["t[layer=2]"]}}}})");
  const std::string problems = Problems();
  EXPECT_THAT(problems,
              HasSubstr("/nodes/a/in/in: input \"in\" takes one step, but \"t\" stands for "
                        "2; write \"t[layer=...,v=...]\""));
  EXPECT_THAT(problems, HasSubstr("/nodes/b/in/in: there is no step \"t[layer=7]\""));
  EXPECT_THAT(problems, HasSubstr("/nodes/c/in/in: node \"t\" has no axis \"laier\" (did you mean "
                                  "\"layer\"?)"));
  EXPECT_THAT(problems, HasSubstr("/nodes/d/in/in: there is no node \"tt\" (did you mean \"t\"?)"));
  EXPECT_THAT(problems,
              HasSubstr("/nodes/e/in/in: input \"in\" takes one step, written as a text"));
  EXPECT_THAT(problems, HasSubstr("/nodes/f/in/in: input \"in\" takes \"text\", but \"n\" (kind "
                                  "\"count\") makes \"number\""));
  EXPECT_THAT(problems,
              HasSubstr("/nodes/g: input \"in\" (a step of type \"text\") is not connected"));
  EXPECT_THAT(problems, HasSubstr("/nodes/h/in/parts: expected a list of steps"));
  EXPECT_THAT(problems, HasSubstr("/nodes/i/in/parts: there is no step \"t[layer=2]\""));
}

}  // namespace
}  // namespace puzzle::testing
