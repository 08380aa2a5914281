// Syntax of graphs, `--set`, and the messages about mistakes.
#include "graph/language/spec.h"

#include <nlohmann/json.hpp>

#include "tests/graph/graph_test_fixture.h"

namespace puzzle::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class SpecTest : public GraphTest {
 protected:
  std::string ProblemsOf(const std::string& graph) {
    Load(graph);
    return Problems();
  }
};

TEST_F(SpecTest, UnknownKeysAreErrorsAtEveryLevel) {
  const std::string problems =
      ProblemsOf(R"({"puzzle": 1, "var": {}, "include": {"c": {"flie": "x"}},
  "vars": {"r": {"range": [0, 1], "step": 1}},
  "nodes": {"a": {"kind": "text", "parms": {}, "params": {"valeu": "x"}},
            "b": {"kind": "concat", "in": {"part": ["a"]}, "foreach": {"i": [1]},
                  "overrides": [{"where": {"j": 1}, "param": {}, "params": {}}],
                  "exclude": [{"k": 2}]}}})");
  EXPECT_THAT(problems, HasSubstr("graph.json:1:15: /var: unknown key (did you mean \"vars\"?)"));
  EXPECT_THAT(problems, HasSubstr("/nodes/a/parms: unknown key (did you mean \"params\"?)"));
  EXPECT_THAT(problems, HasSubstr("/nodes/a/params/valeu: kind \"text\" has no parameter \"valeu\" "
                                  "(did you mean \"value\"?)"));
  EXPECT_THAT(problems, HasSubstr("graph.json:4:44: /nodes/b/in/part: kind \"concat\" has no input "
                                  "\"part\" (did you mean \"parts\"?)"));
  EXPECT_THAT(problems, HasSubstr("/nodes/b/overrides/0/param: unknown key"));
  EXPECT_THAT(problems, HasSubstr("/include/c/flie: unknown key (did you mean \"file\"?)"));
  EXPECT_THAT(problems, HasSubstr("/vars/r: a variable is a scalar, a list"));
  EXPECT_THAT(problems, HasSubstr("/nodes/b/overrides/0/where/j: the node has no axis \"j\""));
  EXPECT_THAT(problems, HasSubstr("/nodes/b/exclude/0/k: the node has no axis \"k\""));
}

struct BadGraph {
  const char* name;
  const char* graph;
  const char* message;
};

class BadGraphTest : public SpecTest, public ::testing::WithParamInterface<BadGraph> {};

TEST_P(BadGraphTest, IsRefusedWithItsPlaceAndReason) {
  const std::string problems = ProblemsOf(GetParam().graph);
  EXPECT_THAT(problems, HasSubstr(GetParam().message)) << GetParam().graph;
}

INSTANTIATE_TEST_SUITE_P(
    Table, BadGraphTest,
    ::testing::Values(
        BadGraph{"NotAnObject", "[]", "graph.json:1:1: a graph is an object"},
        BadGraph{"Syntax", "{\"puzzle\": 1,}", "graph.json:1:14"},
        BadGraph{"DuplicateKey", R"({"puzzle": 1, "puzzle": 1})", "graph.json:1:15"},
        BadGraph{"NoVersion", R"({"nodes": {}})", "\"puzzle\": 1 is missing"},
        BadGraph{"FutureVersion", R"({"puzzle": 2, "nodes": {}})",
                 "graph.json:1:2: /puzzle: this program reads version 1"},
        BadGraph{"NoNodes", R"({"puzzle": 1})", "\"nodes\" is missing"},
        BadGraph{"DocNotAText", R"({"puzzle": 1, "doc": 3, "nodes": {}})", "/doc: expected a text"},
        BadGraph{"IncludeNotAnObject", R"({"puzzle": 1, "include": []})",
                 "/include: expected an object"},
        BadGraph{"IncludeEntryNotAnObject", R"({"puzzle": 1, "include": {"a": "a.json"}})",
                 "/include/a: expected an object"},
        BadGraph{"IncludeFileNotAText", R"({"puzzle": 1, "include": {"a": {"file": 1}}})",
                 "/include/a/file: expected a text"},
        BadGraph{"IncludeFileIsEmpty", R"({"puzzle": 1, "include": {"a": {"file": ""}}})",
                 "/include/a/file: expected the name of a file"},
        BadGraph{"NodesNotAnObject", R"({"puzzle": 1, "nodes": []})", "/nodes: expected an object"},
        BadGraph{"NodeNotAnObject", R"({"puzzle": 1, "nodes": {"a": 1}})", "/nodes/a: expected an"},
        BadGraph{"BadNodeName", R"({"puzzle": 1, "nodes": {"a b": {"kind": "text"}}})",
                 "/nodes/a b: \"a b\" cannot be the name of a node"},
        BadGraph{"NodeCalledVars", R"({"puzzle": 1, "nodes": {"vars": {"kind": "text"}}})",
                 "cannot be the name of a node"},
        BadGraph{"SlashInName", R"({"puzzle": 1, "nodes": {"a/b": {"kind": "text"}}})",
                 "/nodes/a~1b"},
        BadGraph{"NoKind", R"({"puzzle": 1, "nodes": {"a": {}}})", "/nodes/a: \"kind\" is missing"},
        BadGraph{"KindNotText", R"({"puzzle": 1, "nodes": {"a": {"kind": 3}}})",
                 "/nodes/a/kind: expected a text"},
        BadGraph{"UnknownKind", R"({"puzzle": 1, "nodes": {"a": {"kind": "txet"}}})",
                 "/nodes/a/kind: unknown kind \"txet\" (did you mean \"text\"?)"},
        BadGraph{"InNotAnObject", R"({"puzzle": 1, "nodes": {"a": {"kind": "text", "in": []}}})",
                 "/nodes/a/in: expected an object"},
        BadGraph{"EmptyForeach",
                 R"({"puzzle": 1, "nodes": {"a": {"kind": "text", "foreach": {}}}})",
                 "/nodes/a/foreach: needs at least one axis"},
        BadGraph{"ForeachOverAText",
                 R"({"puzzle": 1, "nodes": {"a": {"kind": "text", "foreach": {"i": "x"}}}})",
                 "/nodes/a/foreach/i: an axis runs over a list"},
        BadGraph{"ForeachOverNull",
                 R"({"puzzle": 1, "vars": {"n": null},
                     "nodes": {"a": {"kind": "text", "foreach": {"i": "${n}"}}}})",
                 "/nodes/a/foreach/i: an axis runs over a list"},
        BadGraph{"ForeachOverLists",
                 R"({"puzzle": 1, "nodes": {"a": {"kind": "text", "foreach": {"i": [[1]]}}}})",
                 "the elements of an axis are texts, numbers or booleans"},
        BadGraph{"ForeachTwiceTheSame",
                 R"({"puzzle": 1, "nodes": {"a": {"kind": "text", "foreach": {"i": [1, 1.0]}}}})",
                 "the value \"1\" occurs twice"},
        BadGraph{"ForeachAmbiguousName",
                 R"({"puzzle": 1, "nodes": {"a": {"kind": "text", "foreach": {"i": ["a,b"]}}}})",
                 "\"a,b\" cannot be the element of an axis"},
        BadGraph{
            "ForeachDeleteCharacter",
            R"({"puzzle": 1, "nodes": {"a": {"kind": "text", "foreach": {"i": ["x\u007f"]}}}})",
            "control characters would make step names ambiguous"},
        BadGraph{"ExcludeNotAList",
                 R"({"puzzle": 1, "nodes": {"a": {"kind": "text", "exclude": {"i": 1}}}})",
                 "/nodes/a/exclude: expected a list"},
        BadGraph{
            "OverrideWithoutWhere",
            R"({"puzzle": 1, "nodes": {"a": {"kind": "text", "overrides": [{"params": {}}]}}})",
            "/nodes/a/overrides/0: \"where\" is missing"},
        BadGraph{"InfinityInParameter",
                 R"({"puzzle": 1, "nodes": {"a": {"kind": "text", "params": {"value": NaN}}}})",
                 "graph.json:1:"}),
    [](const auto& info) { return info.param.name; });

TEST_F(SpecTest, SettingsOverruleTheFile) {
  Load(R"({"puzzle": 1, "vars": {"word": "a", "list": [1]}, "nodes": {
    "t": {"kind": "text", "foreach": {"i": "${list}"}, "params": {"value": "${word}${i}"},
          "overrides": [{"where": {"i": 1}, "params": {"display": "file"}}]}}})");
  Set("vars.word=b");
  Set("vars.list=[1,2]");
  Set("t[i=2].value=third");
  Set("t.display=d=e");
  Run();
  EXPECT_EQ(TextOf("t[i=1]"), "b1");
  EXPECT_EQ(TextOf("t[i=2]"), "third");
  const auto display = [&](const std::string& step) {
    return store_->Open(report().steps[Find(step)].record)->Attribute("display").dump();
  };
  EXPECT_EQ(display("t[i=1]"), "\"d=e\"");
}

TEST_F(SpecTest, SettingsWithUnknownTargetsAreRefused) {
  Load(R"({"puzzle": 1, "vars": {"word": "a"}, "nodes": {
    "t": {"kind": "text", "foreach": {"layer": [1, 2]}, "params": {"value": "x"}}}})");
  for (const char* setting :
       {"vars.wrod=1", "s.value=1", "t.valeu=1", "t[layer=3].value=1", "t[lyaer=1].value=1",
        "nonsense", "t.log_every=0", "t[layer.value=3"}) {
    Set(setting);
  }
  const std::string problems = Problems();
  EXPECT_THAT(problems, HasSubstr("--set vars.wrod=1: the graph has no variable \"wrod\" (did you "
                                  "mean \"word\"?)"));
  EXPECT_THAT(problems,
              HasSubstr("--set s.value=1: the graph has no node \"s\" (did you mean \"t\"?)"));
  EXPECT_THAT(problems, HasSubstr("--set t.valeu=1: kind \"text\" has no parameter \"valeu\" (did "
                                  "you mean \"value\"?)"));
  EXPECT_THAT(problems,
              HasSubstr("--set t[layer=3].value=1: the axis \"layer\" has no value \"3\""));
  EXPECT_THAT(problems, HasSubstr("--set t[lyaer=1].value=1: the node has no axis \"lyaer\" (did "
                                  "you mean \"layer\"?)"));
  EXPECT_THAT(problems, HasSubstr("--set nonsense: expected vars.NAME=VALUE"));
  EXPECT_THAT(problems, HasSubstr("--set t.log_every=0: must be at least 1, got 0"));
  EXPECT_THAT(problems, HasSubstr("--set t[layer.value=3: expected"));
}

TEST_F(SpecTest, OneMistakeInEveryElementIsSaidOnce) {
  const std::string problems = ProblemsOf(R"({"puzzle": 1, "nodes": {
    "t": {"kind": "every", "foreach": {"i": {"range": [0, 1000]}},
          "params": {"required": "${i}x"}}}})");
  EXPECT_EQ(std::count(problems.begin(), problems.end(), '\n'), 1) << problems;
  EXPECT_THAT(problems, HasSubstr("expected number, got \"0x\" [and 999 more]"));
}

TEST_F(SpecTest, SelectorsAreSplitIntoNodeAndAxes) {
  Selector selector;
  std::string error;
  ASSERT_TRUE(ParseSelector("blocks[layer=3,variant=ffn:50%]", selector, error));
  EXPECT_EQ(selector.node, "blocks");
  ASSERT_EQ(selector.where.size(), 2u);
  EXPECT_EQ(selector.where[1].second, "ffn:50%");
  ASSERT_TRUE(ParseSelector("a[x=p=q]", selector, error));
  EXPECT_EQ(selector.where[0].second, "p=q");
  ASSERT_TRUE(ParseSelector("base/in/a[x=1]", selector, error));
  EXPECT_EQ(selector.node, "base/in/a");
  for (const char* bad : {"", "a b", "/a", "a/", "a//b", "a[", "a[]", "a[x]", "a[x=1", "a[x=1]b",
                          "a[x=1,x=2]", "3"}) {
    EXPECT_FALSE(ParseSelector(bad, selector, error)) << bad;
  }
}

TEST_F(SpecTest, HintsNameOnlyWhatIsNear) {
  EXPECT_EQ(DidYouMean("stpes", {"steps", "lr"}), "did you mean \"steps\"?");
  EXPECT_EQ(DidYouMean("x", {"steps", "lr"}), "");
  EXPECT_EQ(DidYouMean("learning_rat", {"learning_rate", "learning"}),
            "did you mean \"learning_rate\"?");
}

}  // namespace
}  // namespace puzzle::testing
