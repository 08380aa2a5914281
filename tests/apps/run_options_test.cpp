// Options of the verbs over graphs, each by what it changes.
#include <filesystem>

#include "tests/apps/cli_test_fixture.h"

namespace puzzle::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class RunOptionsTest : public CliTest {};

TEST_F(RunOptionsTest, KeepGoingRunsWhatDoesNotDependOnTheFailure) {
  Write("g.json", R"({"puzzle": 1, "nodes": {
    "f": {"kind": "fail"},
    "s": {"kind": "sleep", "params": {"value": "s", "ms": 500}},
    "u": {"kind": "upper", "in": {"in": "s"}},
    "w": {"kind": "upper", "in": {"in": "f"}}}})");
  const Result stops = Puzzle({"run", "g.json", "-j", "2", "--store", "a"});
  EXPECT_EQ(stops.status, 1);
  EXPECT_EQ(Puzzle({"show", "u", "--store", "a"}).status, 2) << stops.out;
  for (const char* flag : {"-k", "--keep-going"}) {
    const std::string own = std::string("b") + flag;
    const Result goes = Puzzle({"run", "g.json", "-j", "2", "--store", own, flag});
    EXPECT_EQ(goes.status, 1);
    EXPECT_THAT(goes.out, HasSubstr("4 steps: 0 cached, 2 run, 1 failed, 1 skipped"));
    EXPECT_EQ(Puzzle({"show", "u", "--store", own}).status, 0);
  }
}

TEST_F(RunOptionsTest, ForcingAllRunsAllThatIsSelected) {
  Write("g.json", kGraph);
  ASSERT_EQ(Puzzle({"run", "g.json"}).status, 0);
  EXPECT_THAT(Puzzle({"run", "g.json", "--force-all"}).out, HasSubstr("8 steps: 0 cached, 8 run"));
  EXPECT_THAT(Puzzle({"run", "g.json", "--force-all", "--only", "end"}).out,
              HasSubstr("1 step: 0 cached, 1 run"));
  EXPECT_THAT(Puzzle({"run", "g.json"}).out, HasSubstr("8 steps: 8 cached"));
}

TEST_F(RunOptionsTest, FromLeavesOutWhatDoesNotDependOnIt) {
  Write("g.json", kGraph);
  ASSERT_EQ(Puzzle({"run", "g.json", "--until", "s"}).status, 0);
  const Result run = Puzzle({"run", "g.json", "--from", "s[i=1]"});
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_EQ(Puzzle({"show", "all"}).status, 0);
  EXPECT_EQ(Puzzle({"show", "end"}).status, 2);
}

TEST_F(RunOptionsTest, AnAcceptedResultStaysWhatItIs) {
  Write("g.json", kGraph);
  ASSERT_EQ(Puzzle({"run", "g.json"}).status, 0);
  const std::vector<std::string> changed = {"run",       "g.json",      "--set", "t[i=1].value=w",
                                            "--summary", "summary.json"};
  std::vector<std::string> accepted = changed;
  accepted.insert(accepted.end(), {"--accept", "t[i=1]"});
  const Result kept = Puzzle(accepted);
  EXPECT_EQ(kept.status, 0) << kept.err;
  EXPECT_EQ(Summary()["results"]["all"]["text"], "sv0,sv1,sv2");
  EXPECT_THAT(Puzzle(changed).out, HasSubstr("8 steps: 8 cached"));
  EXPECT_EQ(Summary()["results"]["all"]["text"], "sv0,sv1,sv2");
}

TEST_F(RunOptionsTest, VerboseAndQuietAndPlansOfEveryStep) {
  Write("g.json", kGraph);
  EXPECT_THAT(Puzzle({"plan", "g.json"}).out, HasSubstr("RUN   t (3 steps)  missing\n"));
  EXPECT_THAT(Puzzle({"plan", "g.json", "--all"}).out, HasSubstr("RUN   t[i=1]  missing\n"));
  const Result quiet = Puzzle({"run", "g.json", "-q", "--store", "a"});
  EXPECT_THAT(quiet.out, Not(HasSubstr("start ")));
  EXPECT_THAT(quiet.out, HasSubstr("8 steps: 0 cached, 8 run"));
  EXPECT_THAT(Puzzle({"run", "g.json", "--store", "b"}).text(), Not(HasSubstr("8 steps: 0 in")));
  EXPECT_THAT(Puzzle({"run", "g.json", "--store", "c", "-v"}).text(),
              HasSubstr("8 steps: 0 in the store, "));
  EXPECT_THAT(Puzzle({"run", "g.json", "--store", "c", "-q"}).out, Not(HasSubstr("cached")))
      << "nothing to say where there was nothing to do";
}

TEST_F(RunOptionsTest, EveryVerbLooksIntoTheStoreThatItIsGiven) {
  Write("g.json", kGraph);
  ASSERT_EQ(Puzzle({"run", "g.json", "--store", "mine"}).status, 0);
  ASSERT_EQ(Puzzle({"run", "g.json", "--store", "mine", "--force", "end"}).status, 0);
  const auto json = [&](std::vector<std::string> words) {
    words.insert(words.end(), {"--json", "--store", "mine"});
    return nlohmann::json::parse(Puzzle(words).out, nullptr, false);
  };
  EXPECT_EQ(json({"plan", "g.json"})["steps"]["hit"], 8);
  EXPECT_EQ(json({"explain", "g.json", "all"})[0]["fate"], "HIT");
  EXPECT_EQ(json({"show", "all"})["step"], "all");
  EXPECT_EQ(json({"runs"}).size(), 2u);
  EXPECT_EQ(json({"diff"})["same"], 8);
  EXPECT_EQ(json({"cache", "ls"}).size(), 8u);
  EXPECT_EQ(json({"cache", "du"})["nodes"].size(), 4u);
  EXPECT_EQ(json({"cache", "verify"})["results"], 8);
  EXPECT_EQ(Puzzle({"cache", "pin", "end", "--store", "mine"}).status, 0);
  EXPECT_EQ(Puzzle({"cache", "unpin", "end", "--store", "mine"}).status, 0);
  EXPECT_THAT(Puzzle({"cache", "gc", "--store", "mine"}).out, HasSubstr("would remove 0 results"));
  EXPECT_FALSE(std::filesystem::exists(store())) << "nobody asked for that one";
}

TEST_F(RunOptionsTest, PicturesOfGraphsHaveABoxPerNodeOrPerStep) {
  Write("g.json", kGraph);
  for (const char* format : {"dot", "mermaid"}) {
    const std::string nodes = Puzzle({"graph", "g.json", "--format", format}).out;
    const std::string steps = Puzzle({"graph", "g.json", "--format", format, "--steps"}).out;
    EXPECT_GT(CountOf("\n", steps), CountOf("\n", nodes)) << format;
    EXPECT_THAT(steps, HasSubstr("i=1")) << format;
    EXPECT_THAT(nodes, Not(HasSubstr("i=1"))) << format;
  }
}

TEST_F(RunOptionsTest, NumbersOutOfRangeAreRefused) {
  Write("g.json", kGraph);
  for (const auto& [option, value] :
       std::vector<std::pair<std::string, std::string>>{{"--threads-per-lane", "0"},
                                                        {"--threads-per-lane", "1025"},
                                                        {"--resident-mib", "0"},
                                                        {"--memory", "0"},
                                                        {"--lost-after", "0"},
                                                        {"--lost-after", "86401"},
                                                        {"--jobs", "0"},
                                                        {"--jobs", "1025"}}) {
    EXPECT_EQ(Puzzle({"run", "g.json", option, value}).status, 2) << option << ' ' << value;
  }
  const Result good =
      Puzzle({"run", "g.json", "--threads-per-lane", "1", "--resident-mib", "1", "--memory", "1",
              "--lost-after", "0.1", "--jobs", "1", "--strict-environment"});
  EXPECT_EQ(good.status, 0) << good.err;
}

}  // namespace
}  // namespace puzzle::testing
