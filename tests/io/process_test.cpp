#include "io/process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "io/error.h"
#include "tests/io/temp_folder.h"

namespace puzzle {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
namespace fs = std::filesystem;

ProcessSpec Shell(const std::string& script) {
  ProcessSpec spec;
  spec.arguments = {"sh", "-c", script};
  return spec;
}

// Waits until the processes whose numbers stand in a file are gone.
bool AllGone(const std::string& path) {
  std::ifstream file(path);
  std::vector<pid_t> pids;
  for (pid_t pid = 0; file >> pid;) pids.push_back(pid);
  EXPECT_FALSE(pids.empty());
  for (int i = 0; i < 500; ++i) {
    const bool gone = std::all_of(pids.begin(), pids.end(), [](pid_t pid) {
      std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
      std::string number, name, state;
      return !(stat >> number >> name >> state) || state == "Z";
    });
    if (gone) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

struct Enough {};

TEST(ProcessTest, BothStreamsAndTheStatusComeBack) {
  const ProcessResult result = RunProcess(Shell("echo out; echo err >&2; exit 3"));
  EXPECT_EQ(result.exit_status, 3);
  EXPECT_EQ(result.signal, 0);
  EXPECT_EQ(result.out.Text(), "out\n");
  EXPECT_EQ(result.err.Text(), "err\n");
  ProcessSpec fails;
  fails.arguments = {"false"};
  EXPECT_EQ(RunProcess(fails).exit_status, 1);
  EXPECT_EQ(RunProcess(Shell("kill -9 $$")).signal, SIGKILL);
}

TEST(ProcessTest, ArgumentsAreHandedOverAsTheyAre) {
  ProcessSpec spec;
  spec.arguments = {"printf", "%s|", "a b", "$HOME", "", "*", "'"};
  EXPECT_EQ(RunProcess(spec).out.Text(), "a b|$HOME||*|'|");
}

TEST(ProcessTest, ItRunsInItsFolderWithItsEnvironmentAndWithoutInput) {
  const TempFolder folder;
  ProcessSpec spec = Shell("pwd; echo $PUZZLE_A $PUZZLE_B; cat; ls /proc/self/fd | wc -l");
  spec.folder = folder.path();
  spec.environment = {{"PUZZLE_A", "given"}, {"PUZZLE_B", "replaced"}};
  ::setenv("PUZZLE_B", "inherited", 1);
  const std::string out = RunProcess(spec).out.Text();
  ::unsetenv("PUZZLE_B");
  // Descriptors of ls: three streams and the folder it reads.
  EXPECT_EQ(out, fs::canonical(folder.path()).string() + "\ngiven replaced\n4\n");
}

TEST(ProcessTest, WhatCannotBeStartedIsNamed) {
  ProcessSpec spec;
  for (const char* name : {"no-such-program-of-ours", "./no-such-program", "/etc/passwd", "/tmp"}) {
    spec.arguments = {name};
    try {
      (void)RunProcess(spec);
      ADD_FAILURE() << name;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(name));
    }
  }
  spec = Shell("true");
  spec.folder = "/no/such/folder";
  EXPECT_THROW(RunProcess(spec), Error);
}

TEST(ProcessTest, AGigabyteOfOutputIsReadAndForgotten) {
  ProcessSpec spec = Shell("printf begin; head -c 1073741824 /dev/zero; printf end");
  spec.keep_out = 1000;
  const ProcessResult result = RunProcess(spec);
  EXPECT_EQ(result.exit_status, 0);
  EXPECT_EQ(result.out.total(), 1073741824u + 8);
  const std::string text = result.out.Text();
  EXPECT_LT(text.size(), 1100u);
  EXPECT_THAT(text, StartsWith("begin"));
  EXPECT_THAT(text, testing::EndsWith("end"));
  EXPECT_THAT(text, HasSubstr("[1073740832 bytes left out]"));
}

TEST(ProcessTest, WatchSeesTheLastLineAndEndsTheWholeGroupByThrowing) {
  const TempFolder folder;
  const std::string pids = folder / "pids";
  std::string seen;
  EXPECT_THROW(RunProcess(Shell("sleep 100 & echo $! >> " + pids + "; echo $$ >> " + pids +
                                "; printf 'step 1\\rstep 2'; sleep 100"),
                          [&](const std::string& line) {
                            seen = line;
                            if (line == "step 2") throw Enough{};
                          }),
               Enough);
  EXPECT_EQ(seen, "step 2");
  EXPECT_TRUE(AllGone(pids));
}

TEST(ProcessTest, OneThatIgnoresSigtermIsKilledAfterItsGrace) {
  const TempFolder folder;
  const std::string pids = folder / "pids";
  ProcessSpec spec = Shell("trap 'echo asked >> " + (folder / "asked") + "' TERM; echo $$ > " +
                           pids + "; echo ready; while true; do sleep 0.05; done");
  spec.grace_s = 0.5;
  EXPECT_THROW(RunProcess(spec,
                          [](const std::string& line) {
                            if (line == "ready") throw Enough{};
                          }),
               Enough);
  EXPECT_TRUE(AllGone(pids));
  EXPECT_TRUE(fs::exists(folder / "asked")) << "it was asked first";
}

TEST(ProcessTest, WhatItLeavesRunningIsKilledAndKeepsNobodyWaiting) {
  const TempFolder folder;
  const std::string pids = folder / "pids";
  const ProcessResult result = RunProcess(Shell("sleep 100 & echo $! > " + pids + "; echo done"));
  EXPECT_EQ(result.out.Text(), "done\n");
  EXPECT_TRUE(AllGone(pids));
}

TEST(TranscriptTest, KeepsBeginningAndEndHoweverTheBytesArrive) {
  std::string all;
  for (int i = 0; i < 5000; ++i) all += std::to_string(i) + ' ';
  for (const size_t piece : {size_t{1}, size_t{7}, size_t{64}, size_t{1000}, all.size()}) {
    Transcript transcript(100);
    for (size_t i = 0; i < all.size(); i += piece) transcript.Add(all.substr(i, piece));
    EXPECT_EQ(transcript.Text(), all.substr(0, 50) + "\n[" + std::to_string(all.size() - 100) +
                                     " bytes left out]\n" + all.substr(all.size() - 50));
    EXPECT_FALSE(transcript.complete());
  }
  Transcript whole(100);
  whole.Add(all.substr(0, 60));
  whole.Add(all.substr(60, 40));
  EXPECT_EQ(whole.Text(), all.substr(0, 100));
  EXPECT_TRUE(whole.complete());
  EXPECT_EQ(whole.Text(20), all.substr(0, 10) + "\n[80 bytes left out]\n" + all.substr(90, 10));
  Transcript cut(100);
  cut.Add(all);
  EXPECT_EQ(cut.Text(20), all.substr(0, 10) + "\n[" + std::to_string(all.size() - 20) +
                              " bytes left out]\n" + all.substr(all.size() - 10));
}

}  // namespace
}  // namespace puzzle
