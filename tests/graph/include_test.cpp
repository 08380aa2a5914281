// Graphs that include other files.
#include <fmt/format.h>

#include "tests/graph/graph_test_fixture.h"

namespace puzzle::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class IncludeTest : public GraphTest {
 protected:
  IncludeTest() { source_ = folder() + "/main.json"; }
};

constexpr const char* kBase = R"({"puzzle": 1, "vars": {"n": [1], "word": "${greeting}!",
  "greeting": "hello"},
  "nodes": {
    "t": {"kind": "text", "foreach": {"i": "${n}"}, "params": {"value": "${word}${i}"}},
    "all": {"kind": "concat", "in": {"parts": ["t"]}}}})";

TEST_F(IncludeTest, NodesOfAnotherFileStandUnderItsPrefix) {
  WriteFile("parts/base.json", kBase);
  Load(R"({"puzzle": 1, "vars": {"many": {"range": [0, 2]}},
    "include": {"base": {"file": "parts/base.json"},
                "more": {"file": "parts/base.json", "vars": {"n": "${many}", "greeting": "hi"}}},
    "nodes": {"all": {"kind": "concat", "in": {"parts": ["base/all", "more/t[i=1]"]}}}})");
  Run();
  EXPECT_EQ(ran(),
            Steps("base/t[i=1]", "base/all", "more/t[i=0]", "more/t[i=1]", "more/all", "all"));
  EXPECT_EQ(TextOf("base/all"), "hello!1");
  EXPECT_EQ(TextOf("more/all"), "hi!0,hi!1");
  EXPECT_EQ(TextOf("all"), "hello!1,hi!1");
}

TEST_F(IncludeTest, AnIncludedGraphSharesItsResultsWithTheFileAlone) {
  WriteFile("base.json", kBase);
  Load(kBase);
  Run();
  Load(R"({"puzzle": 1, "include": {"b": {"file": "base.json"}}})");
  Run();
  EXPECT_EQ(cached(), Steps("b/t[i=1]", "b/all"));
}

TEST_F(IncludeTest, SettingsReachIncludedVariablesAndNodes) {
  WriteFile("base.json", kBase);
  Load(R"({"puzzle": 1, "include": {"b": {"file": "base.json", "vars": {"greeting": "x"}}}})");
  Set("b/vars.n=[1,2]");
  Set("b/vars.greeting=hey");
  Set("b/t[i=2].value=two");
  Run();
  EXPECT_EQ(TextOf("b/all"), "hey!1,two");
  ClearSettings();
  Set("b/vars.greting=1");
  Set("c/vars.n=1");
  EXPECT_THAT(Problems(), HasSubstr("--set b/vars.greting=1: the graph has no variable "
                                    "\"b/greting\" (did you mean \"greeting\"?)"));
  EXPECT_THAT(Problems(), HasSubstr("--set c/vars.n=1: the graph has no variable \"c/n\""));
}

TEST_F(IncludeTest, IncludedFilesIncludeOthersRelativeToThemselves) {
  WriteFile("a/middle.json", R"({"puzzle": 1, "include": {"in": {"file": "../b/inner.json"}},
    "nodes": {"up": {"kind": "upper", "in": {"in": "in/t"}}}})");
  WriteFile("b/inner.json",
            R"({"puzzle": 1, "nodes": {"t": {"kind": "text", "params": {"value": "x"}}}})");
  Load(R"({"puzzle": 1, "include": {"m": {"file": "a/middle.json"}}})");
  Run();
  EXPECT_EQ(TextOf("m/up"), "X");
  EXPECT_EQ(ran(), Steps("m/in/t", "m/up"));
}

TEST_F(IncludeTest, MistakesAreNamedInTheFileThatHasThem) {
  WriteFile("base.json",
            "{\"puzzle\": 1, \"vars\": {\"v\": 1},\n \"nodes\": {\n"
            "  \"t\": {\"kind\": \"text\", \"params\": {\"valeu\": 1}},\n"
            "  \"u\": {\"kind\": \"upper\", \"in\": {\"in\": \"tt\"}}}}");
  Load(
      "{\"puzzle\": 1, \"include\": {\n"
      "  \"b\": {\"file\": \"base.json\", \"vars\": {\"w\": 1, \"v\": \"${nothing}\"}},\n"
      "  \"c\": {\"file\": \"none.json\"},\n"
      "  \"d\": {\"flie\": \"x\"}, \"vars\": {\"file\": \"base.json\"}},\n"
      "  \"nodes\": {\"x\": {\"kind\": \"upper\", \"in\": {\"in\": \"t\"}}}}");
  const std::string problems = Problems();
  const std::string base = folder() + "/base.json", main = folder() + "/main.json";
  EXPECT_THAT(problems, HasSubstr(base + ":3:36: /nodes/t/params/valeu: kind \"text\" has no "
                                         "parameter \"valeu\" (did you mean \"value\"?)"));
  EXPECT_THAT(problems, HasSubstr(base + ":4:33: /nodes/u/in/in: there is no node \"tt\" (did you "
                                         "mean \"t\"?)"));
  EXPECT_THAT(problems, HasSubstr(main + ":2:39: /include/b/vars/w: " + base +
                                  " has no variable \"w\" (did you mean \"v\"?)"));
  EXPECT_THAT(problems, HasSubstr(main + ":2:47: /include/b/vars/v: \"${nothing}\" is not known"));
  EXPECT_THAT(problems, HasSubstr(main + ":3:9: /include/c/file: "));
  EXPECT_THAT(problems, HasSubstr("none.json"));
  EXPECT_THAT(problems, HasSubstr("/include/d/flie: unknown key (did you mean \"file\"?)"));
  EXPECT_THAT(problems, HasSubstr("/include/d: \"file\" is missing"));
  EXPECT_THAT(problems, HasSubstr("/include/vars: \"vars\" cannot be the name of an include"));
  EXPECT_THAT(problems, HasSubstr(main + ":5:43: /nodes/x/in/in: there is no node \"t\""));
}

TEST_F(IncludeTest, FilesThatIncludeEachOtherAreRefused) {
  WriteFile("a.json", R"({"puzzle": 1, "include": {"b": {"file": "./b.json"}}})");
  WriteFile("b.json", R"({"puzzle": 1, "include": {"a": {"file": "../)" +
                          folder().substr(folder().rfind('/') + 1) + R"(/a.json"}}})");
  Load(R"({"puzzle": 1, "include": {"a": {"file": "a.json"}}})");
  EXPECT_THAT(Problems(), HasSubstr("b.json:1:33: /include/a/file: "));
  EXPECT_THAT(Problems(), HasSubstr("includes itself, directly or through others"));
}

TEST_F(IncludeTest, TheNumberOfIncludedFilesIsBounded) {
  // Eleven levels of two includes each would be 4094 files.
  for (int level = 1; level < 11; ++level) {
    WriteFile(fmt::format("{}.json", level),
              fmt::format(R"({{"puzzle": 1, "include": {{"x": {{"file": "{0}.json"}},
                             "y": {{"file": "{0}.json"}}}}}})",
                          level + 1));
  }
  WriteFile("11.json", R"({"puzzle": 1, "nodes": {}})");
  Load(R"({"puzzle": 1, "include": {"x": {"file": "1.json"}, "y": {"file": "1.json"}}})");
  EXPECT_THAT(Problems(), HasSubstr("more than 1000 included files"));
}

}  // namespace
}  // namespace puzzle::testing
