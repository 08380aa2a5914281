// `puzzle submit` and `puzzle run --on slurm`, on a Slurm of two nodes with two devices each that
// this test brings up on this machine alone: slurmctld and slurmd without munge, by the user who
// tests.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <sstream>
#include <thread>

#include "tests/apps/cli_test_fixture.h"

namespace puzzle::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(CliTest, TheBatchScriptSaysWhatTheUserSaysAndNamesItsJob) {
  Write("g.json", kGraph);
  const Result run = Puzzle({"submit", "g.json", "--store", "s t", "--set", "vars.n=[1]", "-n",
                             "--", "-N", "4", "--gpus-per-node=8", "-t", "8:00:00"});
  ASSERT_EQ(run.status, 0) << run.text();
  EXPECT_THAT(run.out, HasSubstr("#!/bin/bash\n#SBATCH --job-name=puzzle-"));
  EXPECT_THAT(run.out, HasSubstr("#SBATCH --comment=puzzle-"));
  EXPECT_THAT(run.out, HasSubstr("\n#SBATCH -N 4\n#SBATCH --gpus-per-node=8\n#SBATCH -t 8:00:00\n"
                                 "#SBATCH --ntasks-per-node=8\n"));
  EXPECT_THAT(run.out, HasSubstr("cd " + path() + " || exit 2\nexec " + TOY_PUZZLE +
                                 " run g.json --set 'vars.n=[1]' --store 's t' --on slurm\n"));
  EXPECT_FALSE(fs::exists(path() + "/s t")) << "a dry run leaves nothing";
}

TEST_F(CliTest, ATaskCountOfTheUserStays) {
  Write("g.json", kGraph);
  const Result run = Puzzle({"submit", "g.json", "-n", "--", "--gpus-per-node", "a100:8", "-n2"});
  EXPECT_THAT(run.out, Not(HasSubstr("--ntasks-per-node")));
  EXPECT_THAT(Puzzle({"submit", "g.json", "-n", "--", "--gpus-per-node", "a100:8"}).out,
              HasSubstr("#SBATCH --gpus-per-node a100:8\n#SBATCH --ntasks-per-node=8\n"));
}

// sbatch reads its options by line, the shell the rest: a line break must not begin a command
// there.
TEST_F(CliTest, ALineBreakInABatchScriptIsQuotedOrRefused) {
  Write("g.json", kGraph);
  const Result set = Puzzle({"submit", "g.json", "-n", "--set", "vars.n=[1\n,2]"});
  EXPECT_THAT(set.out, HasSubstr(" run g.json --set 'vars.n=[1\n,2]' --on slurm\n"));
  for (const std::vector<std::string>& odd :
       {std::vector<std::string>{"--store", "a\nb"}, {"--", "-N", "1\n2"}}) {
    std::vector<std::string> words = {"submit", "g.json", "-n"};
    words.insert(words.end(), odd.begin(), odd.end());
    const Result refused = Puzzle(words);
    EXPECT_EQ(refused.status, 2);
    EXPECT_THAT(refused.err, HasSubstr("line break"));
    EXPECT_EQ(refused.out, "");
  }
}

// `puzzle jobs` would call a job of another name lost, and the user would submit it again; a run
// would not hear from its workers.
TEST_F(CliTest, TheNamesOfAJobAndOfItsOutputAreNotTheUsersToGive) {
  Write("g.json", kGraph);
  for (const std::vector<std::string>& odd : {std::vector<std::string>{"-J", "sweep"},
                                              {"--job-name=sweep"},
                                              {"-olog"},
                                              {"--output", "log"}}) {
    std::vector<std::string> words = {"submit", "g.json", "-n", "--", "-N", "2"};
    words.insert(words.end(), odd.begin(), odd.end());
    const Result refused = Puzzle(words);
    EXPECT_EQ(refused.status, 2);
    EXPECT_THAT(refused.err, HasSubstr(odd[0] + "\": submit names the job"));
    EXPECT_EQ(refused.out, "");
    words = {"run", "g.json", "--on", "slurm", "--"};
    words.insert(words.end(), odd.begin(), odd.end());
    const Result run = Puzzle(words);
    EXPECT_EQ(run.status, 2);
    EXPECT_THAT(run.err, HasSubstr(odd[0] + "\": a run names its job"));
  }
}

TEST_F(CliTest, APerCentInTheStoresPathStandsForItselfInABatchScript) {
  Write("g.json", kGraph);
  const Result run = Puzzle({"submit", "g.json", "--store", "s%j", "-n"});
  EXPECT_THAT(run.out, HasSubstr("#SBATCH --output=" + path() + "/s%%j/jobs/puzzle-"));
  EXPECT_THAT(run.out, HasSubstr(" run g.json --store s%j --on slurm\n"));
}

TEST_F(CliTest, WhatIsWrongWithAGraphIsSaidBeforeTheJobIsQueued) {
  Write("bad.json", R"({"puzzle": 1, "nodes": {"f": {"kind": "fial"}}})");
  const Result bad = Puzzle({"submit", "bad.json", "--", "-N", "2"});
  EXPECT_EQ(bad.status, 2);
  EXPECT_THAT(bad.err, HasSubstr("unknown kind"));
  EXPECT_FALSE(fs::exists(store()));
  Write("g.json", kGraph);
  const Result odd = Puzzle({"submit", "g.json", "--only", "nosuch", "--", "-N", "2"});
  EXPECT_EQ(odd.status, 2);
  EXPECT_THAT(odd.err, HasSubstr("--only nosuch: matches no step"));
  EXPECT_FALSE(fs::exists(store()));
}

// Else all workers of a node would compute on its first device.
TEST_F(CliTest, AsManyTasksAsDevicesInAnAllocationGetOneEach) {
  Write("g.json", kGraph);
  fs::create_directories(path() + "/bin");
  Write("bin/srun", "#!/bin/sh\necho \"$@\" > asked\n");
  fs::permissions(path() + "/bin/srun", fs::perms::owner_all);
  const auto asked = [&](const char* tasks) {
    const pid_t front = toy_.Start({"run", "g.json", "--on", "slurm"}, "", [&] {
      ::setenv("PATH", (path() + "/bin:" + std::getenv("PATH")).c_str(), 1);
      ::setenv("SLURM_JOB_ID", "1", 1);
      ::setenv("SLURM_NTASKS", tasks, 1);
      ::setenv("SLURM_NNODES", "2", 1);
      ::setenv("SLURM_GPUS_ON_NODE", "4", 1);
    });
    (void)toy_.Finish(front);
    return Read("asked");
  };
  EXPECT_THAT(asked("8"), HasSubstr(" --gpus-per-task=1 "));
  EXPECT_THAT(asked("2"), Not(HasSubstr("--gpus-per-task")));
}

class JobsTest : public CliTest {
 protected:
  JobsTest() {
    fs::create_directories(store() + "/jobs");
    fs::create_directories(path() + "/bin");
  }
  /// Runs `puzzle jobs` beside a squeue that says this.
  Result Jobs(const std::string& squeue) const {
    Write("bin/squeue", "#!/bin/sh\necho \"$@\" >> asked\n" + squeue + "\n");
    fs::permissions(path() + "/bin/squeue", fs::perms::owner_all);
    return toy_.Finish(toy_.Start({"jobs"}, "", [this] {
      ::setenv("PATH", (path() + "/bin:" + std::getenv("PATH")).c_str(), 1);
    }));
  }
  void Sent(const std::string& token, const std::string& output) const {
    Write("store/jobs/" + token + ".sh", "#!/bin/bash\n");
    if (!output.empty()) Write("store/jobs/" + token + ".out", output);
  }
};

TEST_F(JobsTest, AJobIsKnownByItsNameAndOneThatNobodyKnowsIsLost) {
  Sent("puzzle-aa", "");
  Sent("puzzle-bb", "start   s\n\n41 steps: 0 cached, 41 run; 0.6s\n");
  Sent("puzzle-cc", "done    s[i=1] 0.2s  [1/41]\n");
  Sent("puzzle-dd", "done    s[i=7] 0.2s  [7/41]\n");
  // Number 17 belongs to somebody else by now: it says nothing about puzzle-cc.
  const Result jobs = Jobs(
      "echo 'puzzle-aa|18|PENDING|Resources'; echo 'other|17|RUNNING|None';\n"
      "echo 'puzzle-dd|19|RUNNING|None'");
  EXPECT_EQ(jobs.status, 0) << jobs.err;
  EXPECT_THAT(jobs.out, HasSubstr("puzzle-aa  18 PENDING (Resources)\n"));
  EXPECT_THAT(jobs.out, HasSubstr("puzzle-bb  ended\n    41 steps: 0 cached, 41 run; 0.6s\n"));
  EXPECT_THAT(jobs.out, HasSubstr("puzzle-cc  LOST\n    done    s[i=1]"));
  EXPECT_THAT(jobs.out, HasSubstr("puzzle-dd  19 RUNNING\n    done    s[i=7]"));
  EXPECT_EQ(CountOf("submit it again", jobs.out), 1u);
  EXPECT_EQ(CountOf("--name=", Read("asked")), 1u) << "one question for all";
}

TEST_F(JobsTest, WhenSlurmDoesNotAnswerNothingIsCalledLost) {
  Sent("puzzle-aa", "");
  const Result jobs = Jobs("echo Unable to contact slurm controller >&2; exit 1");
  EXPECT_EQ(jobs.status, 1);
  EXPECT_THAT(jobs.err, HasSubstr("squeue does not answer"));
  EXPECT_THAT(jobs.err, HasSubstr("Unable to contact slurm controller"));
  EXPECT_EQ(jobs.out, "");
}

// Who can write into a store puts names there that no submit gives.
TEST_F(JobsTest, OtherNamesInTheFolderAreNoJobs) {
  Sent("puzzle-aa", "");
  Sent("puzzle-aa,root --states=x", "");
  Sent("puzzle-", "");
  const Result jobs = Jobs("exit 0");
  EXPECT_EQ(jobs.status, 0) << jobs.err;
  EXPECT_EQ(CountOf("puzzle-", jobs.out), 1u) << jobs.out;
  EXPECT_THAT(Read("asked"), HasSubstr("--name=puzzle-aa\n"));
}

TEST_F(JobsTest, WithoutJobsSlurmIsNotAsked) {
  const Result jobs = Jobs("exit 1");
  EXPECT_EQ(jobs.status, 0);
  EXPECT_THAT(jobs.out, HasSubstr("no job was submitted"));
  EXPECT_EQ(Read("asked"), "");
}

/// Two nodes, four devices (any character device will do), no accounting.
class SlurmTest : public CliTest {
 protected:
  void SetUp() override {
    if (Shell("command -v slurmctld slurmd sbatch srun").status != 0) {
      GTEST_SKIP() << "no Slurm here (Debian: slurm-wlm)";
    }
    fs::create_directories(path() + "/f/spool");
    for (const char* folder : {"state", "log", "run"}) fs::create_directories(Fixture(folder));
    WriteConfiguration();
    ::setenv("SLURM_CONF", Fixture("slurm.conf").c_str(), 1);
    up_ = true;
    const Result up = Shell(
        "slurmctld -c && slurmd -N n1 && slurmd -N n2 && for i in $(seq 100); do "
        "[ \"$(sinfo -h -t idle -o %D 2>/dev/null)\" = 2 ] && exit 0; sleep .1; done; exit 1");
    if (up.status != 0) GTEST_SKIP() << "Slurm does not come up here: " << up.text();
    Write("g.json", R"({"puzzle": 1, "vars": {"n": {"range": [0, 40]}, "ms": 5}, "nodes": {
      "s": {"kind": "sleep", "foreach": {"i": "${n}"}, "params": {"value": "s${i}", "ms": "${ms}"}},
      "all": {"kind": "concat", "in": {"parts": ["s"]}}}})");
  }
  void TearDown() override {
    if (!up_) return;
    // Jobs first: what ends them has to report to a controller that is there.
    (void)Shell(
        "scancel --quiet --user=$(id -u); for i in $(seq 100); do "
        "[ -z \"$(squeue -h 2>/dev/null)\" ] && break; sleep .1; done");
    for (const char* daemon : {"slurmd-n1", "slurmd-n2", "slurmctld"}) Kill(daemon, SIGTERM);
    for (const char* daemon : {"slurmd-n1", "slurmd-n2", "slurmctld"}) {
      for (int i = 0; i < 100 && Kill(daemon, 0); ++i) Nap();
      Kill(daemon, SIGKILL);
    }
    ::unsetenv("SLURM_CONF");
  }

  static void Nap() { std::this_thread::sleep_for(std::chrono::milliseconds(100)); }
  std::string Fixture(const std::string& name) const { return path() + "/f/" + name; }
  /// Sends a signal to a daemon of this test; false when it is gone.
  bool Kill(const std::string& daemon, int signal) const {
    const std::string number = Read("f/run/" + daemon + ".pid");
    return !number.empty() && ::kill(std::stoi(number), signal) == 0;
  }
  Result Shell(const std::string& command) const {
    const ProgramFolder shell("/bin/sh");
    return shell.Run({"-c", command});
  }
  std::string Queue(const std::string& format) const {
    return Shell("squeue -h -o '" + format + "'").out;
  }
  bool Prints(const std::string& text, const std::string& file = ".stdout") const {
    for (int i = 0; i < 300; ++i, Nap()) {
      if (Read(file).find(text) != std::string::npos) return true;
    }
    return false;
  }
  /// Steps by node, of the last run's log.
  std::map<std::string, int> StepsByNode() const {
    std::map<std::string, int> counts;
    for (const auto& entry : fs::directory_iterator(store() + "/runs")) {
      std::istringstream lines(Read(fs::relative(entry.path(), path()).string()));
      for (std::string line; std::getline(lines, line);) {
        const auto step = nlohmann::json::parse(line);
        const std::string worker = step.value("worker", "");
        if (step.value("outcome", "") == "ok") ++counts[worker.substr(worker.rfind(' ') + 1)];
      }
    }
    return counts;
  }

 private:
  void WriteConfiguration() const {
    const std::string user = Shell("id -un | tr -d '\\n'").out;
    const int port = 20'000 + ::getpid() % 10'000 * 4;
    std::string text = "ClusterName=box\nSlurmctldHost=localhost(127.0.0.1)\n";
    for (const auto& [name, value] : std::vector<std::pair<std::string, std::string>>{
             {"SlurmUser", user},
             {"SlurmdUser", user},
             {"SlurmctldPort", std::to_string(port)},
             {"AuthType", "auth/none"},
             {"AuthInfo", "cred_expire=5"},
             {"CredType", "cred/none"},
             {"CommunicationParameters", "NoInAddrAny,NoCtldInAddrAny"},
             {"StateSaveLocation", Fixture("state")},
             {"SlurmdSpoolDir", Fixture("spool/%n")},
             {"SlurmctldPidFile", Fixture("run/slurmctld.pid")},
             {"SlurmdPidFile", Fixture("run/slurmd-%n.pid")},
             {"SlurmctldLogFile", Fixture("log/slurmctld.log")},
             {"SlurmdLogFile", Fixture("log/slurmd-%n.log")},
             {"ProctrackType", "proctrack/linuxproc"},
             {"TaskPlugin", "task/none"},
             {"SwitchType", "switch/none"},
             {"MpiDefault", "none"},
             {"JobAcctGatherType", "jobacct_gather/none"},
             {"AccountingStorageType", "accounting_storage/none"},
             {"JobCompType", "jobcomp/none"},
             {"SchedulerType", "sched/backfill"},
             {"SchedulerParameters",
              "batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1"},
             {"SelectType", "select/cons_tres"},
             {"SelectTypeParameters", "CR_Core_Memory"},
             {"ReturnToService", "2"},
             {"KillWait", "5"},
             {"MailProg", "/bin/true"},
             {"SlurmdParameters", "config_overrides"},
             {"GresTypes", "gpu"}}) {
      text += name + '=' + value + '\n';
    }
    for (const int node : {1, 2}) {
      const std::string n = "n" + std::to_string(node);
      text += "NodeName=" + n +
              " NodeHostname=localhost NodeAddr=127.0.0.1 Port=" + std::to_string(port + node) +
              " CPUs=4 RealMemory=4000 Gres=gpu:2 State=UNKNOWN\n";
    }
    text += "PartitionName=gpu Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP\n";
    Write("f/slurm.conf", text);
    Write("f/gres.conf",
          "NodeName=n1 Name=gpu File=/dev/null\nNodeName=n1 Name=gpu File=/dev/zero\n"
          "NodeName=n2 Name=gpu File=/dev/full\nNodeName=n2 Name=gpu File=/dev/random\n");
  }

  bool up_ = false;
};

TEST_F(SlurmTest, AJobHasAWorkerPerDeviceAndComputesEachStepOnce) {
  const Result sent = Puzzle({"submit", "g.json", "--devices", "cpu", "--set", "vars.ms=40", "--",
                              "-N", "2", "--gpus-per-node=2", "-t", "5"});
  ASSERT_EQ(sent.status, 0) << sent.text();
  const std::string output = sent.out.substr(
      sent.out.find("output  ") + 8,
      sent.out.find('\n', sent.out.find("output  ")) - sent.out.find("output  ") - 8);
  const std::string relative = fs::relative(output, path()).string();
  ASSERT_TRUE(Prints("41 steps: ", relative)) << Read(relative) << Queue("%i %T %r");
  const std::string text = Read(relative);
  EXPECT_THAT(text, HasSubstr("41 steps: 0 cached, 41 run"));
  EXPECT_THAT(Puzzle({"jobs"}).out, HasSubstr("    41 steps: 0 cached, 41 run"));
  for (const char* worker : {"slurm#0 on n1", "slurm#1 on n1", "slurm#2 on n2", "slurm#3 on n2"}) {
    EXPECT_THAT(text, HasSubstr(worker));
  }
  const auto counts = StepsByNode();
  EXPECT_EQ(counts.size(), 2u);
  EXPECT_EQ(counts.at("n1") + counts.at("n2"), 41);
  EXPECT_THAT(text, Not(HasSubstr("LOST")));
  EXPECT_THAT(text, Not(HasSubstr("computed by")));
}

TEST_F(SlurmTest, TheFrontFollowsAndAKilledWorkerIsLost) {
  const pid_t front = toy_.Start({"run", "g.json", "--on", "slurm", "--devices", "cpu", "--set",
                                  "vars.ms=150", "--", "-N", "2", "--ntasks-per-node=2"});
  ASSERT_TRUE(Prints("done    s["));
  EXPECT_THAT(Queue("%j %k"), HasSubstr("puzzle-"));
  for (const auto& entry : fs::directory_iterator("/proc")) {  // one of this test's workers
    const std::string number = entry.path().filename().string();
    if (number.find_first_not_of("0123456789") != std::string::npos) continue;
    std::error_code failure;
    if (fs::read_symlink(entry.path() / "cwd", failure) != path()) continue;
    const std::string words = ReadBytes(entry.path() / "cmdline");
    if (words.starts_with(TOY_PUZZLE) && words.find("--worker") != std::string::npos) {
      ::kill(std::stoi(number), SIGKILL);
      break;
    }
  }
  const Result run = toy_.Finish(front);
  EXPECT_EQ(run.status, 0) << run.text();
  EXPECT_EQ(CountOf("LOST slurm#", run.out), 1u) << run.text();
  EXPECT_THAT(run.out, HasSubstr("0 cached, 41 run"));
}

TEST_F(SlurmTest, CtrlCEndsTheJob) {
  const pid_t front = toy_.Start({"run", "g.json", "--on", "slurm", "--devices", "cpu", "--set",
                                  "vars.ms=300", "--", "-N", "2"});
  ASSERT_TRUE(Prints("done    s["));
  ::kill(front, SIGINT);
  const Result run = toy_.Finish(front);
  EXPECT_EQ(run.status, 130) << run.text();
  EXPECT_THAT(run.out, Not(HasSubstr("LOST")));
  for (int i = 0; i < 100 && !Queue("%i").empty(); ++i) Nap();
  EXPECT_EQ(Queue("%i"), "");
}

TEST_F(SlurmTest, AJobThatIsCancelledFromOutsideIsLostAndTheNextGoesOn) {
  const pid_t front = toy_.Start({"run", "g.json", "--on", "slurm", "--devices", "cpu", "--set",
                                  "vars.ms=300", "--", "-N", "2"});
  ASSERT_TRUE(Prints("done    s["));
  ASSERT_EQ(Shell("scancel --user=$(id -u)").status, 0);
  const Result run = toy_.Finish(front);
  EXPECT_EQ(run.status, 1) << run.text();
  const Result rest = Puzzle({"run", "g.json", "--on", "slurm", "--devices", "cpu", "--set",
                              "vars.ms=300", "--", "-N", "2", "--ntasks-per-node=4"});
  EXPECT_EQ(rest.status, 0) << rest.text();
  EXPECT_EQ(CountOf("done    s[", run.out) + CountOf("done    s[", rest.out), 40u);
}

}  // namespace
}  // namespace puzzle::testing
