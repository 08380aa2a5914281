// plan, explain, show, runs and diff, and selections, from outside.
#include <filesystem>

#include "tests/apps/cli_test_fixture.h"

namespace puzzle::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class ExplainVerbsTest : public CliTest {};

TEST_F(ExplainVerbsTest, PlanSaysWhatWouldRunAndWhy) {
  Write("g.json", kGraph);
  EXPECT_THAT(Puzzle({"plan", "g.json"}).out, HasSubstr("RUN   t (3 steps)  missing\n"));
  EXPECT_FALSE(fs::exists(store()));
  EXPECT_EQ(Puzzle({"run", "g.json"}).status, 0);
  const Result plan = Puzzle({"plan", "g.json", "--set", "t[i=1].value=w"});
  EXPECT_EQ(plan.status, 0);
  EXPECT_THAT(plan.out, HasSubstr("RUN   t[i=1]  params.value: \"v1\" -> \"w\"\n"));
  EXPECT_THAT(plan.out, HasSubstr("WAIT  s[i=1]  waits for t[i=1]\n"));
  EXPECT_THAT(plan.out, HasSubstr("8 steps: 5 HIT"));
  EXPECT_EQ(Puzzle({"run", "g.json", "-n", "--set", "t[i=1].value=w"}).out, plan.out);
  EXPECT_EQ(nlohmann::json::parse(Puzzle({"plan", "g.json", "--json"}).out)["steps"]["hit"], 8);
}

TEST_F(ExplainVerbsTest, APlanTakesLargeFilesThatNobodyReadForNew) {
  Write("g.json", R"({"puzzle": 1, "nodes": {"f": {"kind": "file", "params": {"path": "big"}}}})");
  Write("big", "");
  fs::resize_file(path() + "/big", (uintmax_t{1} << 30) + 1);  // a hole
  const Result plan = Puzzle({"plan", "g.json"});
  EXPECT_EQ(plan.status, 0);
  EXPECT_THAT(plan.err,
              HasSubstr("warning: big: 1.0 GiB that were not read yet are taken for new"));
  EXPECT_THAT(plan.out, HasSubstr("RUN   f  missing"));
  EXPECT_THAT(Puzzle({"explain", "g.json", "f"}).err, HasSubstr("taken for new"));
  EXPECT_EQ(Puzzle({"validate", "g.json"}).err, "") << "nothing depends on it";
  fs::resize_file(path() + "/big", 5);
  EXPECT_EQ(Puzzle({"plan", "g.json"}).err, "");
}

TEST_F(ExplainVerbsTest, SelectionsLimitARunAndItsPlanAlike) {
  Write("g.json", kGraph);
  EXPECT_THAT(Puzzle({"run", "g.json", "--until", "s[i=1]"}).out, HasSubstr("2 steps: 0 cached"));
  EXPECT_THAT(Puzzle({"plan", "g.json", "--until", "s"}).out, HasSubstr("6 steps: 2 HIT, 4 RUN"));
  EXPECT_THAT(Puzzle({"plan", "g.json", "--only", "s[i=1]", "--force", "s[i=1]"}).out,
              HasSubstr("RUN   s[i=1]  forced\n"));
  const Result outside = Puzzle({"run", "g.json", "--only", "all"});
  EXPECT_EQ(outside.status, 2);
  EXPECT_THAT(outside.err, HasSubstr("t[i=0]: is needed and would have to run (missing)"));
  const Result nothing = Puzzle({"plan", "g.json", "--until", "al"});
  EXPECT_EQ(nothing.status, 2);
  EXPECT_EQ(nothing.err, "--until al: matches no step (did you mean \"all\"?)\n");
}

TEST_F(ExplainVerbsTest, ExplainFollowsAChangeToItsOrigin) {
  Write("g.json", kGraph);
  EXPECT_EQ(Puzzle({"run", "g.json"}).status, 0);
  const Result text = Puzzle({"explain", "g.json", "all", "--set", "t[i=1].value=w"});
  EXPECT_EQ(text.status, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("params.value of t[i=1] changed: \"v1\" -> \"w\"\n"));
  const auto json =
      nlohmann::json::parse(Puzzle({"explain", "g.json", "s", "--json"}).out, nullptr, false);
  ASSERT_EQ(json.size(), 3u);
  EXPECT_EQ(json[0]["fate"], "HIT");
  EXPECT_EQ(Puzzle({"explain", "g.json", "alll"}).status, 2);
}

TEST_F(ExplainVerbsTest, TheCommandThatShowPrintsMakesThatStepAgain) {
  Write("g.json", kGraph);
  EXPECT_EQ(Puzzle({"run", "g.json", "--store", "st", "--set", "all.separator=; "}).status, 0);
  const Result show = Puzzle({"show", "all", "--store", "st"});
  EXPECT_EQ(show.status, 0) << show.err;
  EXPECT_THAT(show.out, HasSubstr("  puzzle run g.json --set 'all.separator=; ' --store st --only "
                                  "all --force all\n"));
  const Result again = Puzzle({"run", "g.json", "--set", "all.separator=; ", "--store", "st",
                               "--only", "all", "--force", "all"});
  EXPECT_THAT(again.out, HasSubstr("7 steps: 6 cached"));
  EXPECT_THAT(again.out, HasSubstr(", 1 run"));
  EXPECT_EQ(Puzzle({"show", "nothing", "--store", "st"}).status, 2);
}

TEST_F(ExplainVerbsTest, RunsAreListedAndComparedAndOnesThatComputeNothingLeaveNoLog) {
  Write("g.json", kGraph);
  EXPECT_EQ(Puzzle({"diff"}).status, 2);
  EXPECT_EQ(Puzzle({"run", "g.json"}).status, 0);
  EXPECT_EQ(Puzzle({"run", "g.json"}).status, 0);
  EXPECT_EQ(Puzzle({"run", "g.json", "--set", "t[i=2].value=w"}).status, 0);
  EXPECT_EQ(nlohmann::json::parse(Puzzle({"runs", "--json"}).out).size(), 2u);
  const Result diff = Puzzle({"diff"});
  EXPECT_EQ(diff.status, 0) << diff.err;
  EXPECT_THAT(diff.out, HasSubstr("changed  t[i=2]  params.value: \"v2\" -> \"w\"\n"));
  EXPECT_THAT(diff.out, HasSubstr("5 steps the same, 3 changed\n"));
  EXPECT_EQ(nlohmann::json::parse(Puzzle({"diff", "2", "1", "--json"}).out)["same"], 5);
}

}  // namespace
}  // namespace puzzle::testing
