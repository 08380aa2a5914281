// What changes a key and what does not.
#include "graph/plan/key.h"

#include "tests/graph/graph_test_fixture.h"

namespace puzzle::testing {
namespace {

using ::testing::IsEmpty;
using ::testing::StartsWith;

class KeyTest : public GraphTest {
 protected:
  /// The key of step "s" in a graph.
  std::string Key(const std::string& graph) {
    Load(graph);
    Run();
    return KeyOfStep("s");
  }
  static std::string Graph(const std::string& params) {
    return R"({"puzzle": 1, "nodes": {"s": {"kind": "every", "params": )" + params + "}}}";
  }
};

TEST_F(KeyTest, OrderWhiteSpaceAndSpellingOfNumbersDoNotEnter) {
  const std::string key = Key(Graph(R"({"required": 1, "number": 10, "integers": [1, 2]})"));
  EXPECT_EQ(Key(Graph(R"({ "integers":[1,2],"number" : 10.0,
                           "required":1e0})")),
            key);
  EXPECT_EQ(Key(R"({"nodes": {"s": {"params": {"required": 1.0, "number": 1e1,
                  "integers": [1.0, 2]}, "doc": "words", "kind": "every"}}, "puzzle": 1})"),
            key);
}

TEST_F(KeyTest, DefaultsAreFilledIn) {
  EXPECT_EQ(Key(Graph(R"({"required": 1})")),
            Key(Graph(R"({"required": 1, "integer": 1, "text": "a", "integers": []})")));
}

TEST_F(KeyTest, FreeFormJsonIsCanonicalToo) {
  EXPECT_EQ(Key(Graph(R"({"required": 1, "json": {"a": 1, "b": [2.0, null]}})")),
            Key(Graph(R"({"required": 1, "json": {"b": [2, null], "a": 1.0}})")));
}

TEST_F(KeyTest, EveryKeyedParameterEnters) {
  const std::string key = Key(Graph(R"({"required": 1})"));
  for (const char* params :
       {R"({"required": 2})", R"({"required": 1, "boolean": true})",
        R"({"required": 1, "text": "alpha"})", R"({"required": 1, "integer": 2})",
        R"({"required": 1, "texts": ["x"]})", R"({"required": 1, "numbers": [1]})",
        R"({"required": 1, "json": 1})", R"({"required": 1.0000000000000002})"}) {
    EXPECT_NE(Key(Graph(params)), key) << params;
  }
}

TEST_F(KeyTest, UnkeyedParametersDoNotEnter) {
  const auto graph = [](const std::string& more) {
    return R"({"puzzle": 1, "nodes": {"s": {"kind": "text", "params": {"value": "a")" + more +
           "}}}}";
  };
  EXPECT_EQ(Key(graph("")), Key(graph(R"(, "log_every": 3)")));
}

TEST_F(KeyTest, NamesOfStepsAndNodesPlacedBeforeDoNotEnter) {
  Load(R"({"puzzle": 1, "nodes": {"a": {"kind": "text", "params": {"value": "v"}},
           "b": {"kind": "upper", "in": {"in": "a"}}}})");
  Run();
  const std::string key = KeyOfStep("b");
  Load(R"({"puzzle": 1, "nodes": {"first": {"kind": "text"},
           "other": {"kind": "text", "params": {"value": "v"}},
           "renamed": {"kind": "upper", "in": {"in": "other"}}}})");
  Run();
  EXPECT_EQ(KeyOfStep("renamed"), key);
  EXPECT_EQ(ran(), Steps("first"));
}

TEST_F(KeyTest, ListsAreSets) {
  const auto graph = [](const std::string& parts) {
    return R"({"puzzle": 1, "nodes": {
      "a": {"kind": "text", "params": {"value": "1"}}, "b": {"kind": "text", "params": {"value": "2"}},
      "same": {"kind": "text", "params": {"value": "2"}},
      "s": {"kind": "concat", "in": {"parts": )" +
           parts + "}}}}";
  };
  const std::string key = Key(graph(R"(["a", "b"])"));
  EXPECT_EQ(Key(graph(R"(["b", "a"])")), key);
  EXPECT_EQ(Key(graph(R"(["b", "a", "b"])")), key);
  EXPECT_EQ(Key(graph(R"(["a", "b", "same"])")), key);
  EXPECT_EQ(TextOf("s"), "1,2");
  EXPECT_NE(Key(graph(R"(["a"])")), key);
}

TEST_F(KeyTest, ElementsOfForeachAreKeyedByValueNotByPosition) {
  Load(R"({"puzzle": 1, "nodes": {"t": {"kind": "text", "foreach": {"i": [1, 2, 3]},
           "params": {"value": "v${i}"}}}})");
  Run();
  EXPECT_EQ(ran().size(), 3u);
  Load(R"({"puzzle": 1, "nodes": {"u": {"kind": "text", "foreach": {"k": [4, 3, 2]},
           "params": {"value": "v${k}"}}}})");
  Run();
  EXPECT_EQ(ran(), Steps("u[k=4]"));
}

TEST_F(KeyTest, TheVersionOfAKindEnters) {
  Load(R"({"puzzle": 1, "nodes": {"s": {"kind": "text"}}})");
  Run();
  playground_.kind_versions["text"] = 2;
  Run();
  EXPECT_EQ(ran(), Steps("s"));
  EXPECT_EQ(observer_.reasons["s"], "kind version 1 -> 2");
}

TEST_F(KeyTest, OnlyKindsThatMeasureAreBoundToTheEnvironment) {
  Load(R"({"puzzle": 1, "nodes": {"t": {"kind": "text"}, "m": {"kind": "measure"}}})");
  environments_[""] = {{"device", "one"}};
  Run();
  environments_[""] = {{"device", "two"}};
  Run();
  EXPECT_EQ(ran(), Steps("m"));
  EXPECT_EQ(observer_.reasons["m"], "environment.device: \"one\" -> \"two\"");
}

TEST_F(KeyTest, TheEnvironmentStaysOutOfTheKeysOfKindsThatOnlyComputeOnADevice) {
  Load(R"({"puzzle": 1, "nodes": {"s": {"kind": "sleep"}}})");
  environments_[""] = {{"device", "one"}};
  Run();
  environments_[""] = {{"device", "two"}};
  Run();
  EXPECT_THAT(ran(), IsEmpty());
}

TEST_F(KeyTest, AKindThatMeasuresIsBoundToTheDeviceItAsksForAndToNoOther) {
  Load(R"({"puzzle": 1, "nodes": {
    "m": {"kind": "measure", "foreach": {"on": ["cpu", "cuda"]},
          "params": {"value": "${on}", "device": "${on}"}}}})");
  environments_["cpu"] = {{"cpu", "any"}};
  environments_["cuda"] = {{"cpu", "any"}, {"gpu", "one"}};
  Plan();
  const std::string on_cpu = RecipeText(*plan_, Find("m[on=cpu]"), {});
  const std::string on_cuda = RecipeText(*plan_, Find("m[on=cuda]"), {});
  EXPECT_THAT(on_cpu, StartsWith(R"({"environment":{"cpu":"any"},"format":1)"));
  EXPECT_THAT(on_cuda, StartsWith(R"({"environment":{"cpu":"any","gpu":"one"},"format":1)"));
  environments_["cuda"]["gpu"] = "two";
  Plan();
  EXPECT_EQ(RecipeText(*plan_, Find("m[on=cpu]"), {}), on_cpu);
  EXPECT_NE(RecipeText(*plan_, Find("m[on=cuda]"), {}), on_cuda);
}

TEST_F(KeyTest, TheRecipeIsTheDocumentedText) {
  Load(R"({"puzzle": 1, "nodes": {"a": {"kind": "text", "params": {"value": "v"}},
           "s": {"kind": "concat", "in": {"parts": ["a"]}}}})");
  Plan();
  EXPECT_EQ(RecipeText(*plan_, Find("s"), {{}, {"d1", "d2"}}),
            R"({"format":1,"inputs":{"parts":["d1","d2"]},"kind":"concat",)"
            R"("params":{"separator":","},"version":1})");
  EXPECT_EQ(RecipeText(*plan_, Find("a"), {}),
            R"({"format":1,"inputs":{},"kind":"text","params":{"display":"","value":"v"},)"
            R"("version":1})");
}

TEST_F(KeyTest, SeedsDependOnKindAndParametersOnly) {
  Load(R"({"puzzle": 1, "nodes": {
    "a": {"kind": "text", "params": {"value": "v"}}, "b": {"kind": "text", "params": {"value": "v"}},
    "c": {"kind": "text", "params": {"value": "w"}}, "u": {"kind": "upper", "in": {"in": "a"}},
    "w": {"kind": "upper", "in": {"in": "c"}}, "n": {"kind": "count", "in": {"in": "a"}}}})");
  Plan();
  EXPECT_EQ(SeedOf(*plan_, Find("a")), SeedOf(*plan_, Find("b")));
  EXPECT_NE(SeedOf(*plan_, Find("a")), SeedOf(*plan_, Find("c")));
  EXPECT_EQ(SeedOf(*plan_, Find("u")), SeedOf(*plan_, Find("w")));
  EXPECT_NE(SeedOf(*plan_, Find("u")), SeedOf(*plan_, Find("n")));
}

}  // namespace
}  // namespace puzzle::testing
