// The command line from outside: exit codes, texts, and what survives when it is killed.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <thread>

namespace puzzle {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// toy_puzzle in a folder of its own.
class CliTest : public ::testing::Test {
 protected:
  struct Result {
    int status = -1;  // exit status, or 128 + signal
    std::string out;
    std::string err;
  };

  CliTest() {
    std::string name = (fs::temp_directory_path() / "puzzle_cli_XXXXXX").string();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  ~CliTest() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  void Write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ + "/" + name) << text;
  }

  pid_t Start(const std::vector<std::string>& arguments, const std::string& tag = "",
              rlim_t max_file = RLIM_INFINITY) {
    const std::string out = folder_ + "/out" + tag, err = folder_ + "/err" + tag;
    const pid_t child = ::fork();
    if (child != 0) return child;
    std::vector<char*> argv = {const_cast<char*>(TOY_PUZZLE)};
    for (const std::string& argument : arguments)
      argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    if (::chdir(folder_.c_str()) != 0) ::_exit(99);
    ::dup2(::open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666), 1);
    ::dup2(::open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666), 2);
    if (max_file != RLIM_INFINITY) {
      ::signal(SIGXFSZ, SIG_IGN);
      const rlimit limit{max_file, max_file};
      ::setrlimit(RLIMIT_FSIZE, &limit);
    }
    ::execv(argv[0], argv.data());
    ::_exit(98);
  }
  Result Finish(pid_t child, const std::string& tag = "") {
    int status = 0;
    ::waitpid(child, &status, 0);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
            ReadAll(folder_ + "/out" + tag), ReadAll(folder_ + "/err" + tag)};
  }
  Result Puzzle(const std::vector<std::string>& arguments) { return Finish(Start(arguments)); }

  nlohmann::json Summary() {
    return nlohmann::json::parse(ReadAll(folder_ + "/summary.json"), nullptr, false);
  }

  std::string folder_;
};

constexpr const char* kGraph = R"({"puzzle": 1, "vars": {"n": {"range": [0, 3]}}, "nodes": {
  "t": {"kind": "text", "foreach": {"i": "${n}"}, "params": {"value": "v${i}"}},
  "s": {"kind": "sleep", "foreach": {"i": "${n}"}, "in": {"in": "t[i=${i}]"},
        "params": {"value": "s", "ms": 2}},
  "all": {"kind": "concat", "in": {"parts": ["s"]}},
  "end": {"kind": "text", "params": {"display": "the table"}}}})";

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

TEST_F(CliTest, PlanSaysWhatWouldRunAndWhy) {
  Write("g.json", kGraph);
  EXPECT_THAT(Puzzle({"plan", "g.json"}).out, HasSubstr("RUN   t (3 steps)  missing\n"));
  EXPECT_FALSE(fs::exists(folder_ + "/store"));
  EXPECT_EQ(Puzzle({"run", "g.json"}).status, 0);
  const Result plan = Puzzle({"plan", "g.json", "--set", "t[i=1].value=w"});
  EXPECT_EQ(plan.status, 0);
  EXPECT_THAT(plan.out, HasSubstr("RUN   t[i=1]  params.value: \"v1\" -> \"w\"\n"));
  EXPECT_THAT(plan.out, HasSubstr("WAIT  s[i=1]  waits for t[i=1]\n"));
  EXPECT_THAT(plan.out, HasSubstr("8 steps: 5 HIT"));
  EXPECT_EQ(Puzzle({"run", "g.json", "-n", "--set", "t[i=1].value=w"}).out, plan.out);
  EXPECT_EQ(nlohmann::json::parse(Puzzle({"plan", "g.json", "--json"}).out)["steps"]["hit"], 8);
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
  for (const char* verb : {"run", "plan", "explain", "show", "runs", "diff", "validate", "graph",
                           "kinds", "schema", "cache"}) {
    const Result help = Puzzle({verb, "--help"});
    EXPECT_EQ(help.status, 0);
    EXPECT_THAT(help.out, HasSubstr("Examples:\n  puzzle " + std::string(verb)));
  }
}

TEST_F(CliTest, KindsSchemaGraphAndValidatePrint) {
  Write("g.json", kGraph);
  EXPECT_THAT(Puzzle({"kinds"}).out, HasSubstr("concat   Joins texts."));
  EXPECT_THAT(Puzzle({"kinds", "concat"}).out, HasSubstr("separator"));
  EXPECT_THAT(Puzzle({"kinds", "cocnat"}).err, HasSubstr("did you mean \"concat\"?"));
  EXPECT_EQ(nlohmann::json::parse(Puzzle({"kinds", "concat", "--json"}).out)[0]["name"], "concat");
  EXPECT_TRUE(nlohmann::json::parse(Puzzle({"schema"}).out).contains("$defs"));
  EXPECT_THAT(Puzzle({"graph", "g.json"}).out, HasSubstr("flowchart LR"));
  EXPECT_THAT(Puzzle({"graph", "g.json", "--format", "dot"}).out, HasSubstr("digraph"));
  EXPECT_EQ(Puzzle({"validate", "g.json"}).out, "g.json: good, 4 nodes, 8 steps\n");
}

TEST_F(CliTest, ARunDescribesItselfInFiles) {
  Write("g.json", kGraph);
  for (const bool again : {false, true}) {
    const Result run = Puzzle({"run", "g.json", "--events", "e.jsonl", "--trace", "t.json",
                               "--report", "r.html", "--summary", "summary.json"});
    ASSERT_EQ(run.status, 0) << run.err;
    std::istringstream lines(ReadAll(folder_ + "/e.jsonl"));
    std::vector<nlohmann::json> events;
    for (std::string line; std::getline(lines, line);) {
      events.push_back(nlohmann::json::parse(line));
    }
    ASSERT_GE(events.size(), 10u);
    EXPECT_EQ(events.front()["event"], "run_started");
    EXPECT_EQ(events.back()["event"], "run_done");
    EXPECT_EQ(events.back()[again ? "cached" : "ok"], 8);
    const auto trace = nlohmann::json::parse(ReadAll(folder_ + "/t.json"));
    size_t slices = 0;
    for (const auto& event : trace["traceEvents"]) slices += event["ph"] == "X" ? 1 : 0;
    EXPECT_EQ(slices, again ? 8u : 16u);  // computed and saved
    EXPECT_THAT(ReadAll(folder_ + "/r.html"), HasSubstr("toy_puzzle run g.json --events"));
  }
  EXPECT_EQ(Puzzle({"run", "g.json", "--trace", "t.svg"}).status, 0);
  EXPECT_THAT(ReadAll(folder_ + "/t.svg"), HasSubstr("8 results found"));
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
    "s": {"kind": "sleep", "foreach": {"i": [1, 2, 3, 4]},
          "params": {"value": "${i}", "ms": 20, "memory_mib": 40}}}})");
  const Result run = Puzzle({"run", "g.json", "-j", "4", "--memory", "50", "--trace", "t.json"});
  ASSERT_EQ(run.status, 0) << run.err;
  std::vector<std::pair<double, double>> times;
  const auto trace = nlohmann::json::parse(ReadAll(folder_ + "/t.json"));
  for (const auto& event : trace["traceEvents"]) {
    if (event["ph"] == "X" && event["cat"] == "compute") {
      times.emplace_back(event["ts"], event["ts"].get<double>() + event["dur"].get<double>());
    }
  }
  std::sort(times.begin(), times.end());
  ASSERT_EQ(times.size(), 4u);
  // The next one may begin while the end of the last is being noted.
  constexpr double kNoting_us = 10'000;
  for (size_t i = 1; i < times.size(); ++i)
    EXPECT_GE(times[i].first + kNoting_us, times[i - 1].second);
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

TEST_F(CliTest, SelectionsLimitARunAndItsPlanAlike) {
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

TEST_F(CliTest, TheCommandThatShowPrintsMakesThatStepAgain) {
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

TEST_F(CliTest, RunsAreListedAndComparedAndOnesThatComputeNothingLeaveNoLog) {
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

TEST_F(CliTest, ExplainFollowsAChangeToItsOrigin) {
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

TEST_F(CliTest, InterruptingStopsCleanlyAndTheNextRunGoesOn) {
  Write("g.json", R"({"puzzle": 1, "nodes": {
    "t": {"kind": "text", "params": {"value": "v"}},
    "s": {"kind": "sleep", "in": {"in": "t"}, "params": {"ms": 60000}},
    "u": {"kind": "upper", "in": {"in": "s"}}}})");
  const pid_t child = Start({"run", "g.json"});
  for (int i = 0; i < 500 && ReadAll(folder_ + "/out").find("start   s") == std::string::npos;
       ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  ::kill(child, SIGINT);
  const Result interrupted = Finish(child);
  EXPECT_EQ(interrupted.status, 130);
  EXPECT_THAT(interrupted.out, HasSubstr("3 steps: 0 cached, 1 run, 2 cancelled"));
  EXPECT_THAT(Puzzle({"run", "g.json", "--set", "s.ms=1"}).out, HasSubstr("1 cached"));
}

/// Steps that write real archives: texts, streamed arrays, and one that joins everything.
constexpr const char* kSlow = R"({"puzzle": 1, "vars": {"n": {"range": [0, 6]}}, "nodes": {
  "t": {"kind": "text", "foreach": {"i": "${n}"}, "params": {"value": "v${i}"}},
  "r": {"kind": "stream", "foreach": {"rows": [100, 200, 300, 400, 500, 1000]},
        "params": {"rows": "${rows}"}},
  "s": {"kind": "sleep", "foreach": {"i": "${n}"}, "in": {"in": "t[i=${i}]"},
        "params": {"value": "s", "ms": 5}},
  "all": {"kind": "concat", "in": {"parts": ["s"]}},
  "end": {"kind": "upper", "in": {"in": "all"}}}})";

/// Rounds of the tests that kill and damage at random; the environment asks for more.
int Rounds(int usual) {
  const char* factor = std::getenv("PUZZLE_FAULT_FACTOR");
  return usual * (factor == nullptr ? 1 : std::max(1, std::atoi(factor)));
}

TEST_F(CliTest, KilledAtAnyInstantTheNextRunFinishesWhatWasInFlight) {
  Write("g.json", kSlow);
  std::mt19937 random(3);
  int killed = 0;
  const int rounds = Rounds(200);
  for (int round = 0; round < rounds; ++round) {
    fs::remove_all(folder_ + "/store");
    const pid_t child = Start({"run", "g.json", "--devices", "cpu,cpu"});
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 40'000));
    ::kill(child, SIGKILL);
    if (Finish(child).status == 128 + SIGKILL) ++killed;
    size_t records = 0;
    if (fs::exists(folder_ + "/store")) {
      for (const auto& entry : fs::recursive_directory_iterator(folder_ + "/store")) {
        if (entry.path().extension() == ".json") ++records;
      }
    }
    const Result rerun = Puzzle({"run", "g.json", "--summary", "summary.json"});
    ASSERT_EQ(rerun.status, 0) << rerun.out << rerun.err;
    EXPECT_THAT(rerun.out, Not(HasSubstr("warning"))) << "nothing is damaged";
    EXPECT_THAT(rerun.out, Not(HasSubstr("wait "))) << "no claim is left";
    EXPECT_EQ(Summary()["results"]["end"]["text"], "SV0,SV1,SV2,SV3,SV4,SV5");
    EXPECT_EQ(Summary()["steps"]["ran"].get<size_t>() + records, 20u);
    if (Summary()["steps"]["ran"] > 0) {
      EXPECT_TRUE(fs::is_empty(folder_ + "/store/tmp"));
    }
  }
  EXPECT_GT(killed, rounds / 2);
}

TEST_F(CliTest, OfFourRunsSomeAreKilledAndTheOthersTakeOver) {
  Write("g.json", kSlow);
  std::mt19937 random(5);
  const int rounds = Rounds(10);
  for (int round = 0; round < rounds; ++round) {
    fs::remove_all(folder_ + "/store");
    std::vector<pid_t> runs;
    for (const char* tag : {"1", "2", "3", "4"}) {
      runs.push_back(Start({"run", "g.json", "--devices", "cpu,cpu"}, tag));
    }
    for (const int victim : {0, 1}) {
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 15'000));
      ::kill(runs[static_cast<size_t>(victim)], SIGKILL);
    }
    size_t done = 0;
    for (size_t i = 0; i < runs.size(); ++i) {
      const Result run = Finish(runs[i], std::to_string(i + 1));
      if (i >= 2) {
        EXPECT_EQ(run.status, 0) << run.out << run.err;
      }
      for (size_t at = 0; (at = run.out.find("done    ", at)) != std::string::npos; ++at) ++done;
    }
    // A step is done once, but what a victim published may have found no time to be announced.
    EXPECT_LE(done, 20u);
    EXPECT_THAT(Puzzle({"plan", "g.json"}).out, HasSubstr("20 steps: 20 HIT"));
    EXPECT_EQ(Puzzle({"cache", "verify"}).status, 0);
  }
}

TEST_F(CliTest, WhateverIsDamagedInAStoreTheNextRunIsRight) {
  Write("g.json", kSlow);
  ASSERT_EQ(Puzzle({"run", "g.json"}).status, 0);
  std::mt19937 random(7);
  const int rounds = Rounds(30);
  for (int round = 0; round < rounds; ++round) {
    std::vector<std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(folder_ + "/store")) {
      if (entry.is_regular_file() && fs::file_size(entry) > 0) files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // a new time stamp
    for (int i = 0; i < 3; ++i) {
      const std::string& path = files[random() % files.size()];
      if (!fs::exists(path)) continue;
      const auto size = fs::file_size(path);
      switch (random() % 3) {
        case 0:
          fs::remove(path);
          break;
        case 1:
          fs::resize_file(path, random() % (size + 1));
          break;
        default: {
          if (size == 0) break;
          std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
          const auto at = static_cast<std::streamoff>(random() % size);
          file.seekg(at);
          const char flipped = static_cast<char>(file.get() ^ (1 << random() % 8));
          file.seekp(at);
          file.put(flipped);
        }
      }
    }
    const Result run = Puzzle({"run", "g.json", "--summary", "summary.json"});
    ASSERT_EQ(run.status, 0) << run.out << run.err;
    EXPECT_EQ(Summary()["results"]["end"]["text"], "SV0,SV1,SV2,SV3,SV4,SV5");
    EXPECT_EQ(Summary()["results"]["all"]["text"], "sv0,sv1,sv2,sv3,sv4,sv5");
  }
}

TEST_F(CliTest, TwoRunsOnOneStoreComputeEachStepOnce) {
  Write("g.json", kSlow);
  for (int round = 0; round < 3; ++round) {
    fs::remove_all(folder_ + "/store");
    const pid_t one = Start({"run", "g.json"}, "1");
    const pid_t two = Start({"run", "g.json"}, "2");
    const Result first = Finish(one, "1"), second = Finish(two, "2");
    size_t started = 0;
    for (const std::string& out : {first.out, second.out}) {
      for (size_t at = 0; (at = out.find("start   ", at)) != std::string::npos; ++at) ++started;
    }
    EXPECT_EQ(started, 20u) << first.out << second.out;
    EXPECT_EQ(first.status, 0) << first.err;
    EXPECT_EQ(second.status, 0) << second.err;
    EXPECT_THAT(Puzzle({"plan", "g.json"}).out, HasSubstr("20 steps: 20 HIT"));
  }
}

TEST_F(CliTest, TheCacheVerbListsRemovesPinsAndVerifies) {
  Write("g.json", kGraph);
  EXPECT_EQ(Puzzle({"cache", "ls"}).status, 1);  // there is no store yet
  EXPECT_THAT(Finish(Start({"cache", "ls"})).err, HasSubstr("there is no store \"store\""));
  ASSERT_EQ(Puzzle({"run", "g.json"}).status, 0);
  EXPECT_THAT(Puzzle({"cache", "ls", "s[i=1]"}).out, HasSubstr("s[i=1]  "));
  const auto list = nlohmann::json::parse(Puzzle({"cache", "ls", "--json"}).out);
  EXPECT_EQ(list.size(), 8u);
  EXPECT_EQ(list[0]["step"], "all");
  const auto use = nlohmann::json::parse(Puzzle({"cache", "du", "--json"}).out);
  EXPECT_EQ(use["nodes"].size(), 4u);
  EXPECT_THAT(Puzzle({"cache", "gc", "--older", "0s"}).out, HasSubstr("nothing was removed"));
  EXPECT_THAT(Puzzle({"run", "g.json"}).out, HasSubstr("8 cached"));
  EXPECT_THAT(Puzzle({"cache", "pin", "end"}).out, HasSubstr("pinned end ("));
  EXPECT_THAT(Puzzle({"cache", "gc", "--max-size", "0", "--yes"}).out,
              HasSubstr("removed 7 results"));
  EXPECT_THAT(Puzzle({"run", "g.json"}).out, HasSubstr("8 steps: 1 cached"));
  EXPECT_EQ(Puzzle({"cache", "verify"}).status, 0);
  fs::resize_file(folder_ + "/store/" + list[1]["key"].get<std::string>().substr(0, 2) + "/" +
                      list[1]["key"].get<std::string>() + ".h5",
                  100);
  EXPECT_EQ(Puzzle({"cache", "verify"}).status, 1);
  EXPECT_EQ(Puzzle({"cache", "verify", "--repair"}).status, 0);
  EXPECT_THAT(Puzzle({"run", "g.json"}).out, HasSubstr("8 steps: 7 cached"));
  EXPECT_EQ(Puzzle({"cache", "gc", "--max-size", "many"}).status, 2);
  EXPECT_EQ(Puzzle({"cache"}).status, 2);
  EXPECT_EQ(Puzzle({"cache", "pin", "nothing"}).status, 1);
}

TEST_F(CliTest, ASharedStoreGivesItsResultsAndIsNotTouched) {
  Write("g.json", kGraph);
  ASSERT_EQ(Puzzle({"run", "g.json", "--store", "theirs"}).status, 0);
  const Result mine = Puzzle(
      {"run", "g.json", "--store", "mine", "--shared-store", "theirs", "--set", "t[i=1].value=w"});
  EXPECT_EQ(mine.status, 0) << mine.err;
  EXPECT_THAT(mine.out, HasSubstr("8 steps: 5 cached"));
  EXPECT_EQ(Puzzle({"run", "g.json", "--shared-store", "nowhere"}).status, 2);
}

TEST_F(CliTest, AFullDiskFailsTheStepNamesTheFileAndKeepsTheRest) {
  Write("g.json", R"({"puzzle": 1, "nodes": {
    "a": {"kind": "text", "params": {"value": "small"}},
    "r": {"kind": "stream", "params": {"rows": 1000}}}})");
  EXPECT_EQ(Puzzle({"run", "g.json", "--set", "r.rows=1"}).status, 0);
  const Result full = Finish(Start({"run", "g.json"}, "", /*max_file=*/4096));
  EXPECT_EQ(full.status, 1) << full.out;
  EXPECT_THAT(full.err, HasSubstr("failed: r (kind stream"));
  EXPECT_THAT(full.err, HasSubstr("store/tmp/"));
  EXPECT_TRUE(fs::is_empty(folder_ + "/store/tmp"));
  EXPECT_THAT(Puzzle({"plan", "g.json", "--set", "r.rows=1"}).out, HasSubstr("2 steps: 2 HIT"));
  EXPECT_EQ(Puzzle({"run", "g.json"}).status, 0);
}

TEST_F(CliTest, AStoreThatCannotBeWrittenIsOneClearMessage) {
  Write("g.json", R"({"puzzle": 1, "nodes": {"a": {"kind": "text"}}})");
  Write("file", "in the way");
  const Result result = Puzzle({"run", "g.json", "--store", "file/store"});
  EXPECT_EQ(result.status, 1);
  EXPECT_THAT(result.err, HasSubstr("cannot create the store \"file/store\""));
}

}  // namespace
}  // namespace puzzle
