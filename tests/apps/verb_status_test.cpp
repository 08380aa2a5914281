// What scripts see of every verb, whatever it does: its exit status, what it asks for and which
// words belong to which option.
#include <nlohmann/json.hpp>

#include "tests/apps/cli_test_fixture.h"

namespace puzzle::testing {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

using Words = std::vector<std::string>;

std::string Line(const Words& words) {
  std::string line;
  for (const std::string& word : words) line += (line.empty() ? "" : " ") + word;
  return line;
}

class VerbStatusTest : public CliTest {
 protected:
  VerbStatusTest() {
    Write("g.json", kGraph);
    Write("bad.json", R"({"puzzle": 1, "nodes": {"f": {"kind": "fial"}}})");
  }
};

TEST_F(VerbStatusTest, AVerbThatDidItsWorkSaysSoAndEndsWithZero) {
  ASSERT_EQ(Puzzle({"run", "g.json"}).status, 0);
  ASSERT_EQ(Puzzle({"run", "g.json", "--force", "end"}).status, 0) << "two runs can be compared";
  for (const Words& words : std::vector<Words>{{"run", "g.json"},
                                               {"run", "g.json", "-n"},
                                               {"plan", "g.json"},
                                               {"plan", "g.json", "--json"},
                                               {"plan", "g.json", "--all", "-v"},
                                               {"explain", "g.json", "all"},
                                               {"explain", "g.json", "all", "--json"},
                                               {"show", "all"},
                                               {"show", "all", "--json"},
                                               {"runs"},
                                               {"runs", "--json"},
                                               {"diff"},
                                               {"diff", "--json"},
                                               {"diff", "2", "1"},
                                               {"validate", "g.json"},
                                               {"graph", "g.json"},
                                               {"graph", "g.json", "--format", "dot"},
                                               {"graph", "g.json", "--format", "makeflow"},
                                               {"kinds"},
                                               {"kinds", "--json"},
                                               {"kinds", "concat"},
                                               {"schema"},
                                               {"jobs"},
                                               {"cache", "ls"},
                                               {"cache", "ls", "--json"},
                                               {"cache", "du"},
                                               {"cache", "du", "--json"},
                                               {"cache", "pin", "end"},
                                               {"cache", "unpin", "end"},
                                               {"cache", "gc"},
                                               {"cache", "gc", "--max-size", "0", "--all"},
                                               {"cache", "verify"},
                                               {"cache", "verify", "--json"},
                                               {"cache", "gc", "--max-size", "0", "--yes"},
                                               {"manual"},
                                               {"complete", "pl"},
                                               {"--version"},
                                               {"cache", "--help"}}) {
    const Result result = Puzzle(words);
    EXPECT_EQ(result.status, 0) << Line(words) << '\n' << result.err;
    EXPECT_NE(result.out, "") << Line(words);
  }
}

TEST_F(VerbStatusTest, WhatAVerbCannotDoWithoutIsAskedFor) {
  const struct {
    Words words;
    const char* missing;
  } kIncomplete[] = {{{"run"}, "GRAPH is required"},
                     {{"submit"}, "GRAPH is required"},
                     {{"plan"}, "GRAPH is required"},
                     {{"explain"}, "GRAPH is required"},
                     {{"explain", "g.json"}, "STEP is required"},
                     {{"show"}, "STEP|KEY is required"},
                     {{"validate"}, "GRAPH is required"},
                     {{"graph"}, "GRAPH is required"},
                     {{"cache"}, "subcommand is required"},
                     {{"cache", "pin"}, "NAME is required"},
                     {{"cache", "unpin"}, "NAME is required"},
                     {{}, "subcommand is required"}};
  for (const auto& incomplete : kIncomplete) {
    const Result result = Puzzle(incomplete.words);
    EXPECT_EQ(result.status, 2) << Line(incomplete.words);
    EXPECT_EQ(result.out, "") << Line(incomplete.words);
    EXPECT_THAT(result.err, HasSubstr(incomplete.missing)) << Line(incomplete.words);
  }
}

TEST_F(VerbStatusTest, ABadGraphIsBadInputForEveryVerb) {
  for (const Words& words : std::vector<Words>{{"run", "bad.json"},
                                               {"run", "bad.json", "-n"},
                                               {"plan", "bad.json"},
                                               {"plan", "bad.json", "--json"},
                                               {"explain", "bad.json", "f"},
                                               {"validate", "bad.json"},
                                               {"graph", "bad.json"},
                                               {"graph", "bad.json", "--format", "makeflow"},
                                               {"submit", "bad.json", "-n"}}) {
    const Result result = Puzzle(words);
    EXPECT_EQ(result.status, 2) << Line(words);
    EXPECT_EQ(result.out, "") << Line(words);
    EXPECT_THAT(result.err, HasSubstr("unknown kind \"fial\"")) << Line(words);
  }
  // One bad graph among good ones.
  EXPECT_EQ(Puzzle({"validate", "g.json", "bad.json"}).status, 2);
  EXPECT_EQ(Puzzle({"validate", "bad.json", "g.json"}).status, 2);
}

TEST_F(VerbStatusTest, WhatIsNotThereIsNamed) {
  ASSERT_EQ(Puzzle({"run", "g.json"}).status, 0);
  const struct {
    Words words;
    const char* message;
  } kMissing[] = {{{"show", "nothing"}, "nothing"},
                  {{"diff", "7", "1"}, "7"},
                  {{"explain", "g.json", "nothing"}, "nothing"},
                  {{"plan", "g.json", "--only", "nothing"}, "--only nothing: matches no step"},
                  {{"kinds", "nothing"}, "nothing"}};
  for (const auto& missing : kMissing) {
    const Result result = Puzzle(missing.words);
    EXPECT_EQ(result.status, 2) << Line(missing.words);
    EXPECT_EQ(result.out, "") << Line(missing.words);
    EXPECT_THAT(result.err, HasSubstr(missing.message)) << Line(missing.words);
  }
}

// What options may be given several times end after one word each: what follows is the verb's.
TEST_F(VerbStatusTest, AnOptionTakesOneWordAndLeavesTheNextToTheVerb) {
  ASSERT_EQ(Puzzle({"run", "g.json"}).status, 0);
  ASSERT_EQ(Puzzle({"run", "g.json", "--store", "other"}).status, 0);
  for (const Words& words : std::vector<Words>{{"plan", "--set", "vars.n=[0]", "g.json"},
                                               {"validate", "--set", "vars.n=[0]", "g.json"},
                                               {"plan", "--shared-store", "other", "g.json"},
                                               {"plan", "--until", "s", "g.json"},
                                               {"plan", "--from", "s", "g.json"},
                                               {"plan", "--only", "s", "g.json"},
                                               {"plan", "--force", "s", "g.json"},
                                               {"explain", "--set", "vars.n=[0]", "g.json", "all"}})
    EXPECT_EQ(Puzzle(words).status, 0) << Line(words) << '\n' << Puzzle(words).err;
  for (const Words& words : std::vector<Words>{{"--set", "vars.n=[0]", "vars.n=[1]"},
                                               {"--shared-store", "other", "other"},
                                               {"--until", "s", "all"},
                                               {"--from", "s", "all"},
                                               {"--only", "s", "all"},
                                               {"--force", "s", "all"},
                                               {"--accept", "s", "all"}}) {
    Words plan = {"plan", "g.json"};
    plan.insert(plan.end(), words.begin(), words.end());
    const Result result = Puzzle(plan);
    EXPECT_EQ(result.status, 2) << Line(plan);
    EXPECT_THAT(result.err, HasSubstr("not expected: " + words.back())) << Line(plan);
  }
  EXPECT_EQ(Puzzle({"validate", "--set", "vars.n=[0]", "g.json"}).out,
            "g.json: good, 4 nodes, 4 steps\n");
}

TEST_F(VerbStatusTest, TheLogOfARunSaysWhatWasTypedAndHowToDoItAgain) {
  ASSERT_EQ(Puzzle({"run", "g.json", "--set", "all.separator=; ", "--until", "all", "--jobs", "1"})
                .status,
            0);
  const nlohmann::json run = nlohmann::json::parse(Puzzle({"runs", "--json"}).out)[0];
  EXPECT_EQ(run["graph"], "g.json");
  EXPECT_THAT(run["command"].get<std::string>(),
              EndsWith("run g.json --set 'all.separator=; ' --until all --jobs 1"));
  EXPECT_EQ(run["again"], "puzzle run g.json --set 'all.separator=; '");
  EXPECT_EQ("puzzle " + run["tool"].get<std::string>() + '\n', Puzzle({"--version"}).out);
  EXPECT_EQ(run["exit"], 0);
}

TEST_F(VerbStatusTest, WhatWorkersAreToldIsNoOptionForPeople) {
  EXPECT_THAT(Puzzle({"run", "--help"}).out,
              AllOf(Not(HasSubstr("--worker")), Not(HasSubstr("--beacon"))));
}

}  // namespace
}  // namespace puzzle::testing
