// `puzzle run --on`: several processes, one run. The workers are real, the hosts of ssh are a
// script.
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <set>
#include <thread>

#include "tests/apps/cli_test_fixture.h"

namespace puzzle::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

/// Forty steps of some milliseconds on lanes, and one that joins them.
constexpr const char* kForty =
    R"({"puzzle": 1, "vars": {"n": {"range": [0, 40]}, "ms": 5}, "nodes": {
  "t": {"kind": "text", "params": {"value": "v"}},
  "s": {"kind": "sleep", "foreach": {"i": "${n}"}, "in": {"in": "t"},
        "params": {"value": "s${i}", "ms": "${ms}"}},
  "all": {"kind": "concat", "in": {"parts": ["s"]}}}})";

class WorkersTest : public CliTest {
 protected:
  WorkersTest() { Write("g.json", kForty); }

  /// What a host of ssh looks like from here: `body` is a shell script, $1 the host, $2 the
  /// command.
  [[nodiscard]] std::string Ssh(const std::string& body) const {
    Write("ssh", "#!/bin/sh\n" + body + "\n");
    fs::permissions(path() + "/ssh", fs::perms::owner_all);
    return path() + "/ssh";
  }
  /// Steps by "worker" in the log of the last run.
  [[nodiscard]] std::map<std::string, int> StepsByWorker() const {
    std::map<std::string, int> counts;
    for (const auto& entry : fs::directory_iterator(store() + "/runs")) {
      std::istringstream lines(toy_.Read(fs::relative(entry.path(), path()).string()));
      for (std::string line; std::getline(lines, line);) {
        const auto step = nlohmann::json::parse(line);
        if (step.value("outcome", "") == "ok") ++counts[step.value("worker", "")];
      }
    }
    return counts;
  }
  /// Waits until a started program has printed a text.
  [[nodiscard]] bool Prints(const std::string& text) const {
    for (int i = 0; i < 2000; ++i) {
      if (toy_.OutputOf().find(text) != std::string::npos) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
  /// Processes that work in the folder of this test.
  [[nodiscard]] std::set<pid_t> Workers() const {
    std::set<pid_t> found;
    for (const auto& entry : fs::directory_iterator("/proc")) {
      const std::string name = entry.path().filename().string();
      if (name.find_first_not_of("0123456789") != std::string::npos) continue;
      std::error_code failure;
      if (fs::read_symlink(entry.path() / "cwd", failure) != path() || failure) continue;
      const std::string words = ReadBytes(entry.path() / "cmdline");
      if (words.find("--worker") != std::string::npos) found.insert(std::stoi(name));
    }
    return found;
  }
};

TEST_F(WorkersTest, TwoLocalWorkersMakeOneRunAndComputeEachStepOnce) {
  const Result run = Puzzle({"run", "g.json", "--on", "local:2", "--summary", "summary.json"});
  ASSERT_EQ(run.status, 0) << run.text();
  EXPECT_THAT(run.out, HasSubstr("42 steps: 0 cached, 42 run; "));
  EXPECT_EQ(CountOf("done    s[", run.out), 40u);
  EXPECT_EQ(Summary()["steps"]["ran"], 42);
  const auto counts = StepsByWorker();
  int sum = 0;
  for (const auto& [worker, count] : counts) {
    EXPECT_THAT(worker, HasSubstr("local#"));
    EXPECT_THAT(worker, HasSubstr(" on "));
    sum += count;
  }
  EXPECT_EQ(sum, 42);
  EXPECT_EQ(counts.size(), 2u) << "both worked";
  const auto runs = nlohmann::json::parse(Puzzle({"runs", "--json"}).out);
  EXPECT_EQ(runs.size(), 1u) << "one log";
  EXPECT_EQ(run.err, "");
  const Result again = Puzzle({"run", "g.json", "--on", "local:2"});
  EXPECT_THAT(again.out, HasSubstr("42 steps: 42 cached"));
  EXPECT_TRUE(fs::is_empty(store() + "/tmp"));
}

TEST_F(WorkersTest, TheEventsOfTheFrontNameTheWorkers) {
  ASSERT_EQ(Puzzle({"run", "g.json", "--on", "local:2", "--events", "e.jsonl"}).status, 0);
  std::istringstream lines(Read("e.jsonl"));
  int started = 0;
  for (std::string line; std::getline(lines, line);) {
    const auto event = nlohmann::json::parse(line);
    if (event["event"] != "step_started") continue;
    ++started;
    EXPECT_THAT(event["lane"].get<std::string>(), HasSubstr("local#"));
  }
  EXPECT_EQ(started, 42);
}

TEST_F(WorkersTest, WorkersShareTheCoresThatTheRunMayUse) {
  const pid_t front = toy_.Start({"run", "g.json", "--on", "local:1"}, "", [] {
    cpu_set_t mine, one;
    ::sched_getaffinity(0, sizeof mine, &mine);
    CPU_ZERO(&one);
    for (int cpu = 0; CPU_COUNT(&one) == 0; ++cpu)
      if (CPU_ISSET(cpu, &mine)) CPU_SET(cpu, &one);
    ::sched_setaffinity(0, sizeof one, &one);
  });
  ASSERT_EQ(toy_.Finish(front).status, 0);
  const auto shown = nlohmann::json::parse(Puzzle({"show", "s[i=0]", "--json"}).out);
  EXPECT_EQ(shown["record"]["threads"], 1);
}

TEST_F(WorkersTest, TheLanesOfAllWorkersAreThoseOfTheRun) {
  ASSERT_EQ(Puzzle({"run", "g.json", "--on", "local:2", "--devices", "cpu,cpu,cpu", "--events",
                    "e.jsonl"})
                .status,
            0);
  const std::string events = Read("e.jsonl");
  const auto begin = nlohmann::json::parse(events.substr(0, events.find('\n')));
  EXPECT_EQ(begin["event"], "run_started");
  EXPECT_EQ(begin["lanes"], 3);
}

TEST_F(WorkersTest, AWorkerThatIsKilledIsLostAndNothingElse) {
  const pid_t front = toy_.Start({"run", "g.json", "--on", "local:3", "--set", "vars.ms=60"});
  ASSERT_TRUE(Prints("done    s["));
  const std::set<pid_t> workers = Workers();
  ASSERT_GE(workers.size(), 2u);
  ::kill(*workers.begin(), SIGKILL);
  const Result run = toy_.Finish(front);
  EXPECT_EQ(run.status, 0) << run.text();
  EXPECT_EQ(CountOf("LOST local#", run.out), 1u) << run.out;
  EXPECT_THAT(run.out, HasSubstr("(process " + std::to_string(*workers.begin()) + " on "));
  EXPECT_THAT(run.out, HasSubstr("): killed by signal 9 (Killed)"));
  EXPECT_THAT(run.out, HasSubstr("0 cached, 42 run"));
  EXPECT_EQ(Puzzle({"cache", "verify"}).status, 0);
}

TEST_F(WorkersTest, TheOnlyWorkerIsStartedAgainWhenItIsLost) {
  const pid_t front =
      toy_.Start({"run", "g.json", "--on", "local:1", "--devices", "cpu", "--set", "vars.ms=60"});
  ASSERT_TRUE(Prints("done    s["));
  const std::set<pid_t> workers = Workers();
  ASSERT_EQ(workers.size(), 1u);
  ::kill(*workers.begin(), SIGKILL);
  const Result run = toy_.Finish(front);
  EXPECT_EQ(run.status, 0) << run.text();
  EXPECT_EQ(CountOf("LOST local#1", run.out), 1u);
  EXPECT_THAT(run.out, HasSubstr("0 cached, 42 run"));
}

TEST_F(WorkersTest, CtrlCStopsAllWorkersAndKeepsWhatIsDone) {
  const pid_t front = toy_.Start({"run", "g.json", "--on", "local:2", "--set", "vars.ms=100"});
  ASSERT_TRUE(Prints("done    s["));
  ::kill(front, SIGINT);
  const Result run = toy_.Finish(front);
  EXPECT_EQ(run.status, 130) << run.text();
  EXPECT_EQ(Workers().size(), 0u);
  EXPECT_THAT(run.out, HasSubstr("cancelled"));
  EXPECT_THAT(run.out, Not(HasSubstr("LOST")));
  const size_t done = CountOf("done    ", run.out);
  const Result rest =
      Puzzle({"run", "g.json", "--set", "vars.ms=100", "--summary", "summary.json"});
  EXPECT_EQ(rest.status, 0);
  EXPECT_GE(Summary()["steps"]["cached"].get<size_t>(), done);
}

TEST_F(WorkersTest, WhenTheFrontIsKilledItsWorkersEndAndTheNextRunGoesOn) {
  const pid_t front = toy_.Start({"run", "g.json", "--on", "local:2", "--set", "vars.ms=100"});
  ASSERT_TRUE(Prints("done    s["));
  ::kill(front, SIGKILL);
  ::waitpid(front, nullptr, 0);
  for (int i = 0; i < 500 && !Workers().empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_TRUE(Workers().empty());
  const Result run = Puzzle({"run", "g.json", "--set", "vars.ms=100", "--on", "local:2"});
  EXPECT_EQ(run.status, 0) << run.text();
  EXPECT_THAT(run.out, HasSubstr("42 steps: "));
}

TEST_F(WorkersTest, TheFrontShowsLifeWhereClaimsAreFiles) {
  const pid_t front =
      toy_.Start({"run", "g.json", "--on", "local:1", "--lost-after", "60", "--set", "vars.ms=20"});
  ASSERT_TRUE(Prints("done    s["));
  std::string hearts;
  for (const auto& entry : fs::directory_iterator(store() + "/leases")) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("run.")) hearts += Read("store/leases/" + name);
  }
  EXPECT_THAT(hearts, HasSubstr(" " + std::to_string(front) + " "));
  EXPECT_EQ(toy_.Finish(front).status, 0);
  EXPECT_TRUE(fs::is_empty(store() + "/leases"));
}

TEST_F(WorkersTest, AFailureStopsTheRunOnceAndSaysWhere) {
  Write("fail.json", R"({"puzzle": 1, "nodes": {
    "f": {"kind": "fail", "params": {"message": "as asked"}},
    "s": {"kind": "sleep", "params": {"ms": 5}}, "u": {"kind": "upper", "in": {"in": "f"}}}})");
  const Result run = Puzzle({"run", "fail.json", "--on", "local:2"});
  EXPECT_EQ(run.status, 1);
  EXPECT_EQ(CountOf("failed: f (kind fail", run.err), 1u) << run.text();
  EXPECT_THAT(run.err, HasSubstr(": as asked"));
  EXPECT_THAT(run.out, HasSubstr("1 failed, 1 skipped"));
}

TEST_F(WorkersTest, HostsOfSshComputeTogether) {
  const std::string ssh = Ssh("echo \"$1\" >> hosts; exec sh -c \"$2\"");
  const Result run = Puzzle({"run", "g.json", "--on", "ssh:alpha,beta", "--ssh-command", ssh,
                             "--store", "a store", "--devices", "cpu"});
  ASSERT_EQ(run.status, 0) << run.text();
  EXPECT_THAT(run.out, HasSubstr("0 cached, 42 run"));
  const std::string hosts = Read("hosts");
  EXPECT_TRUE(hosts == "alpha\nbeta\n" || hosts == "beta\nalpha\n") << hosts;
}

TEST_F(WorkersTest, AHostThatFailsAtOnceAgainAndAgainIsGivenUpAndBlocksNobody) {
  const std::string ssh =
      Ssh("if [ $1 = bad ]; then echo bad >> tries; echo no route to host >&2; exit 255; fi\n"
          "exec sh -c \"$2\"");
  const Result run = Puzzle({"run", "g.json", "--on", "ssh:bad,good", "--ssh-command", ssh, "--set",
                             "vars.ms=60", "--devices", "cpu"});
  EXPECT_EQ(run.status, 0) << run.text();
  const size_t tries = CountOf("bad", Read("tries"));
  EXPECT_GE(tries, 1u);
  EXPECT_LE(tries, 5u);
  EXPECT_LE(CountOf("no route to host", run.text()), 1u) << run.text();
}

TEST_F(WorkersTest, WithoutAnyWorkerTheRunEndsAndSaysWhy) {
  const std::string ssh = Ssh("echo no such store program >&2; exit 2");
  const Result run = Puzzle({"run", "g.json", "--on", "ssh:a,b", "--ssh-command", ssh});
  EXPECT_EQ(run.status, 1) << run.text();
  EXPECT_THAT(run.out, HasSubstr("is given up: it ended with status 2: no such store program"));
  EXPECT_THAT(run.out, HasSubstr("42 cancelled"));
}

TEST_F(WorkersTest, AStoreThatTheHostDoesNotSeeIsSaidByHost) {
  const std::string ssh =
      Ssh("[ $1 = far ] && { mkdir -p elsewhere; cp g.json elsewhere; cd elsewhere; "
          "exec sh -c \"$(echo \"$2\" | sed 's/cd [^ ]* &&//')\"; }\nexec sh -c \"$2\"");
  const Result run =
      Puzzle({"run", "g.json", "--on", "ssh:far,near", "--ssh-command", ssh, "--devices", "cpu"});
  EXPECT_EQ(run.status, 0) << run.text();
  EXPECT_EQ(CountOf("is not the one of the run that started this worker", run.text()), 1u)
      << run.text();
  EXPECT_FALSE(fs::exists(path() + "/elsewhere/store"));
}

TEST_F(WorkersTest, AWorkerWithoutAnInputFileIsSaidOnceAndTheRestGoesOn) {
  Write("f.json", R"({"puzzle": 1, "vars": {"n": {"range": [0, 6]}}, "nodes": {
    "f": {"kind": "file", "params": {"path": "model.bin"}},
    "s": {"kind": "sleep", "foreach": {"i": "${n}"}, "in": {"in": "f"}, "params": {"ms": 5}}}})");
  Write("model.bin", "weights");
  const std::string ssh =
      Ssh("if [ $1 = poor ]; then mkdir -p poor; cp f.json poor; ln -sfn ../store poor/store\n"
          "cd poor; exec sh -c \"$(echo \"$2\" | sed 's/cd [^ ]* &&//')\"; fi\nexec sh -c \"$2\"");
  const Result run =
      Puzzle({"run", "f.json", "--on", "ssh:poor,rich", "--ssh-command", ssh, "--devices", "cpu"});
  EXPECT_EQ(run.status, 0) << run.text();
  EXPECT_EQ(CountOf("model.bin", run.text()), 1u) << run.text();
  EXPECT_THAT(run.out, HasSubstr("ssh#1 is given up"));
}

TEST_F(WorkersTest, WhatDoesNotFitOnOneHostIsComputedOnAnotherAndSaidOnce) {
  Write("r.json", R"({"puzzle": 1, "nodes": {
    "r": {"kind": "stream", "foreach": {"rows": [998, 999, 1000]}, "params": {"rows": "${rows}"}},
    "s": {"kind": "sleep", "params": {"ms": 300}}}})");
  // A limit on the size of files is a full disk that leaves room for the other host.
  const std::string ssh =
      Ssh("export SLURMD_NODENAME=$1\n[ $1 = full ] && ulimit -f 4\n[ $1 = roomy ] && sleep 1\n"
          "exec sh -c \"$2\"");
  const Result run =
      Puzzle({"run", "r.json", "--on", "ssh:full,roomy", "--ssh-command", ssh, "--devices", "cpu"});
  EXPECT_EQ(run.status, 0) << run.text();
  EXPECT_GE(CountOf("failed on full: ", run.out), 1u) << run.text();
  EXPECT_THAT(run.out, HasSubstr("left to other hosts"));
  EXPECT_THAT(run.out, HasSubstr("0 cached, 4 run"));
  EXPECT_EQ(Puzzle({"cache", "verify"}).status, 0);
}

TEST_F(WorkersTest, WhatCannotBeIsOneMessage) {
  const struct {
    std::vector<std::string> arguments;
    const char* message;
  } kBad[] = {
      {{"run", "g.json", "--on", "here"},
       "--on here: expected local:N, ssh:HOST,HOST,... or slurm"},
      {{"run", "g.json", "--on", "local:0"}, "--on local:0: expected"},
      {{"run", "g.json", "--on", "local:2x"}, "--on local:2x: expected"},
      {{"run", "g.json", "--on", "ssh:"}, "--on ssh:: expected"},
      {{"run", "g.json", "--on", "ssh:-oProxyCommand=x"}, "expected local:N"},
      {{"run", "g.json", "--on", "local:2", "--force", "t"}, "--force means this process"},
      {{"run", "g.json", "--on", "local:2", "--devices", "cpu"}, "are too few"},
      {{"run", "g.json", "h.json"}, "\"h.json\": a second graph"},
      {{"run", "g.json", "--on", "local:2", "--", "-N", "4"}, "\"-N\" is for srun"},
  };
  for (const auto& bad : kBad) {
    const Result run = Puzzle(bad.arguments);
    EXPECT_EQ(run.status, 2) << bad.message << run.text();
    EXPECT_THAT(run.err, HasSubstr(bad.message));
  }
  EXPECT_FALSE(fs::exists(store()));
}

}  // namespace
}  // namespace puzzle::testing
