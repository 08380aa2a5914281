// The command line from outside: exit codes, help, what is checked, what a run leaves.
#include <algorithm>
#include <map>
#include <sstream>

#include "tests/apps/cli_test_fixture.h"

namespace puzzle::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(CliTest, ASecondRunHasNothingToDoAndShowsTheSame) {
  Write("g.json", kGraph);
  const Result first = Puzzle({"run", "g.json", "--summary", "summary.json"});
  EXPECT_EQ(first.status, 0) << first.err;
  EXPECT_THAT(first.out, HasSubstr("8 steps: 0 cached, 8 run; "));
  EXPECT_THAT(first.out, HasSubstr("end:\nthe table\n"));
  EXPECT_THAT(first.out, Not(HasSubstr("\x1b")));
  EXPECT_EQ(Summary()["results"]["all"]["text"], "sv0,sv1,sv2");
  const Result second = Puzzle({"run", "g.json", "--summary", "summary.json"});
  EXPECT_EQ(second.status, 0);
  EXPECT_THAT(second.out, HasSubstr("8 steps: 8 cached"));
  EXPECT_THAT(second.out, HasSubstr("end:\nthe table\n"));
  EXPECT_THAT(second.out, Not(HasSubstr("start")));
  EXPECT_EQ(Summary()["steps"]["ran"], 0);
  EXPECT_EQ(Summary()["results"]["all"]["text"], "sv0,sv1,sv2");
}

TEST_F(CliTest, ExitCodesTellWhatHappened) {
  Write("g.json", kGraph);
  Write("fail.json", R"({"puzzle": 1, "nodes": {"f": {"kind": "fail"}}})");
  Write("bad.json", R"({"puzzle": 1, "nodes": {"f": {"kind": "fial"}, "t": {"kind": "text",
                     "params": {"vlaue": 1}}}})");
  EXPECT_EQ(Puzzle({"--help"}).status, 0);
  EXPECT_EQ(Puzzle({}).status, 2);
  EXPECT_EQ(Puzzle({"rnu"}).status, 2);
  EXPECT_EQ(Puzzle({"run", "g.json", "--devices", "gpu"}).status, 2);
  EXPECT_EQ(Puzzle({"run", "none.json"}).status, 2);
  const Result failed = Puzzle({"run", "fail.json"});
  EXPECT_EQ(failed.status, 1);
  EXPECT_THAT(failed.err, HasSubstr("failed: f (kind fail"));
  EXPECT_THAT(failed.err, HasSubstr("toy_puzzle run fail.json"));
  for (const char* verb : {"run", "plan", "validate", "graph"}) {
    const Result bad = Puzzle({verb, "bad.json"});
    EXPECT_EQ(bad.status, 2) << verb;
    EXPECT_EQ(bad.out, "");
    EXPECT_EQ(bad.err,
              "bad.json:1:31: /nodes/f/kind: unknown kind \"fial\" (did you mean \"fail\"?)\n"
              "bad.json:2:33: /nodes/t/params/vlaue: kind \"text\" has no parameter \"vlaue\" (did "
              "you mean \"value\"?)\n");
  }
}

TEST_F(CliTest, EveryVerbHelpsWithExamples) {
  for (const char* verb : {"run", "submit", "jobs", "plan", "explain", "show", "runs", "diff",
                           "validate", "graph", "kinds", "schema", "cache"}) {
    const Result help = Puzzle({verb, "--help"});
    EXPECT_EQ(help.status, 0);
    EXPECT_THAT(help.out, HasSubstr("Examples:\n  puzzle " + std::string(verb)));
  }
}

TEST_F(CliTest, KindsSchemaGraphAndValidatePrint) {
  Write("g.json", kGraph);
  EXPECT_THAT(Puzzle({"kinds"}).out, HasSubstr("Joins texts."));
  EXPECT_THAT(Puzzle({"kinds", "concat"}).out, HasSubstr("separator"));
  EXPECT_THAT(Puzzle({"kinds", "cocnat"}).err, HasSubstr("did you mean \"concat\"?"));
  EXPECT_EQ(nlohmann::json::parse(Puzzle({"kinds", "concat", "--json"}).out)[0]["name"], "concat");
  EXPECT_TRUE(nlohmann::json::parse(Puzzle({"schema"}).out).contains("$defs"));
  EXPECT_THAT(Puzzle({"graph", "g.json"}).out, HasSubstr("flowchart LR"));
  EXPECT_THAT(Puzzle({"graph", "g.json", "--format", "dot"}).out, HasSubstr("digraph"));
  Write("one.json", R"({"puzzle": 1, "nodes": {"t": {"kind": "text"}}})");
  EXPECT_EQ(Puzzle({"validate", "g.json", "one.json"}).out,
            "g.json: good, 4 nodes, 8 steps\none.json: good, 1 node, 1 step\n");
}

TEST_F(CliTest, ARunDescribesItselfInFiles) {
  Write("g.json", kGraph);
  for (const bool again : {false, true}) {
    const Result run = Puzzle({"run", "g.json", "--events", "e.jsonl", "--trace", "t.json",
                               "--report", "r.html", "--summary", "summary.json"});
    ASSERT_EQ(run.status, 0) << run.err;
    std::istringstream lines(Read("e.jsonl"));
    std::vector<nlohmann::json> events;
    for (std::string line; std::getline(lines, line);) {
      events.push_back(nlohmann::json::parse(line));
    }
    ASSERT_GE(events.size(), 10u);
    EXPECT_EQ(events.front()["event"], "run_started");
    EXPECT_EQ(events.back()["event"], "run_done");
    EXPECT_EQ(events.back()[again ? "cached" : "ok"], 8);
    const auto trace = nlohmann::json::parse(Read("t.json"));
    size_t slices = 0;
    for (const auto& event : trace["traceEvents"]) slices += event["ph"] == "X" ? 1 : 0;
    EXPECT_EQ(slices, again ? 8u : 16u);  // computed and saved
    EXPECT_THAT(Read("r.html"), HasSubstr("toy_puzzle run g.json --events"));
  }
  EXPECT_EQ(Puzzle({"run", "g.json", "--trace", "t.svg"}).status, 0);
  EXPECT_THAT(Read("t.svg"), HasSubstr("8 results found"));
}

TEST_F(CliTest, AFileThatCannotBeWrittenIsOneClearMessageBeforeAnythingRuns) {
  Write("g.json", kGraph);
  const Result run = Puzzle({"run", "g.json", "--events", "none/e.jsonl"});
  EXPECT_EQ(run.status, 1);
  EXPECT_THAT(run.err, HasSubstr("cannot write \"none/e.jsonl\": No such file or directory"));
  EXPECT_THAT(run.out, Not(HasSubstr("start")));
}

TEST_F(CliTest, TheMemoryBudgetIsAnOption) {
  Write("g.json", R"({"puzzle": 1, "nodes": {
    "s": {"kind": "sleep", "foreach": {"i": {"range": [0, 8]}},
          "params": {"value": "${i}", "ms": 20, "memory_mib": 40}}}})");
  const Result run = Puzzle({"run", "g.json", "-j", "8", "--memory", "50", "--events", "e.jsonl"});
  ASSERT_EQ(run.status, 0) << run.err;
  std::istringstream lines(Read("e.jsonl"));
  std::map<std::string, double> started;
  std::vector<std::pair<double, int>> changes;  // when how many more compute
  for (std::string line; std::getline(lines, line);) {
    const auto event = nlohmann::json::parse(line);
    if (event["event"] == "step_started") started[event["step"]] = event["t"];
    if (event["event"] != "step_done") continue;
    const double begin = started.at(event["step"]);
    changes.insert(changes.end(), {{begin, 1}, {begin + event["wall_s"].get<double>(), -1}});
  }
  ASSERT_EQ(changes.size(), 16u);
  std::sort(changes.begin(), changes.end());
  int running = 0, peak = 0;
  for (const auto& [when, more] : changes) peak = std::max(peak, running += more);
  // One by one, but a beginning is noted a little after it.
  EXPECT_LE(peak, 3);
  EXPECT_EQ(Puzzle({"run", "g.json", "--memory", "-1"}).status, 2);
}

TEST_F(CliTest, ValidateSaysWhatRunSays) {
  Write("commented.json", "// one\n{\"puzzle\": 1, /* two */ \"nodes\": {}}\n// three\n");
  EXPECT_EQ(Puzzle({"validate", "commented.json"}).status, 0);
  EXPECT_EQ(Puzzle({"run", "commented.json"}).status, 0);
  Write("base.json", R"({"puzzle": 1, "vars": {"v": 1}, "nodes": {"t": {"kind": "txt"}}})");
  Write("g.json", R"({"puzzle": 1, "include": {"b": {"file": "base.json", "vars": {"w": 1}}},
    "nodes": {"f": {"kind": "file", "params": {"path": "none"}, "retries": "x", "timout": 1}}})");
  const std::vector<std::string> set = {"--set", "f.path=gone", "--set", "g.x=1"};
  std::vector<std::string> validate = {"validate", "g.json"}, run = {"run", "g.json"};
  validate.insert(validate.end(), set.begin(), set.end());
  run.insert(run.end(), set.begin(), set.end());
  const Result checked = Puzzle(validate);
  EXPECT_EQ(checked.status, 2);
  EXPECT_EQ(std::count(checked.err.begin(), checked.err.end(), '\n'), 6) << checked.err;
  EXPECT_EQ(checked.err, Puzzle(run).err);
}

}  // namespace
}  // namespace puzzle::testing
