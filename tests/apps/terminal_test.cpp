// What the command line does with terminals, streams, full disks and other people's text.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <thread>

#include "tests/apps/cli_test_fixture.h"

namespace puzzle::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class TerminalTest : public CliTest {
 protected:
  /// Runs a command line of the shell in the folder; "toy" is the program. Returns its exit status.
  int Shell(const std::string& command) const {
    const std::string line =
        "cd '" + path() + "' && toy() { '" TOY_PUZZLE "' \"$@\"; }; " + command;
    const std::string script = path() + "/script.sh";
    Write("script.sh", line + '\n');
    const int status = std::system(
        ("bash '" + script + "' >'" + path() + "/out' 2>'" + path() + "/err' </dev/null").c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
};

constexpr const char* kOne =
    R"({"puzzle": 1, "nodes": {"t": {"kind": "text", "params": {"value": "v"}}}})";

TEST_F(TerminalTest, AGraphMayComeFromStandardInputAndFromAPipe) {
  Write("g.json", kOne);
  EXPECT_EQ(Shell("toy validate - < g.json"), 0) << Read("err");
  EXPECT_EQ(Shell("cat g.json | toy run - --store st -q --summary s.json"), 0) << Read("err");
  EXPECT_THAT(Read("s.json"), HasSubstr("\"t\""));
  EXPECT_EQ(Shell("toy plan <(cat g.json) --store st"), 0) << Read("err");
  EXPECT_THAT(Read("out"), HasSubstr("HIT   t"));
  EXPECT_EQ(Shell("echo '{' | toy validate -"), 2);
  EXPECT_THAT(Read("err"), HasSubstr("standard input:"));
}

TEST_F(TerminalTest, ANamedPipeIsRefusedByName) {
  ASSERT_EQ(::mkfifo((path() + "/pipe").c_str(), 0600), 0);
  Write("g.json", R"({"puzzle": 1, "include": {"b": {"file": "pipe"}}, "nodes": {}})");
  EXPECT_EQ(Shell("timeout 10 '" TOY_PUZZLE "' validate g.json"), 2);
  EXPECT_THAT(Read("err"), HasSubstr("pipe: is a pipe, not a regular file"));
}

TEST_F(TerminalTest, PathsOfReportsAreTriedBeforeTheFirstStep) {
  Write("g.json", kOne);
  for (const char* flag : {"--trace", "--report", "--summary", "--events"}) {
    EXPECT_EQ(Shell(std::string("toy run g.json --store st -q ") + flag + " none/x.json"), 1);
    EXPECT_THAT(Read("err"), HasSubstr("none/x.json"));
    EXPECT_FALSE(fs::exists(path() + "/st/index")) << flag;
  }
}

TEST_F(TerminalTest, ASummaryThroughALinkKeepsTheLink) {
  Write("g.json", kOne);
  Write("real.json", "old");
  fs::create_symlink("real.json", path() + "/s.json");
  EXPECT_EQ(Shell("toy run g.json --store st -q --summary s.json"), 0);
  EXPECT_TRUE(fs::is_symlink(path() + "/s.json"));
  EXPECT_THAT(Read("real.json"), HasSubstr("\"steps\""));
  EXPECT_EQ(Shell("toy run g.json --store st -q --summary /dev/stdout"), 0);
  EXPECT_THAT(Read("out"), HasSubstr("\"steps\""));
  EXPECT_TRUE(fs::exists("/dev/stdout"));
}

TEST_F(TerminalTest, AFullDiskBehindStandardOutputIsAFailureOfEveryVerb) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  Write("g.json", kOne);
  ASSERT_EQ(Shell("toy run g.json --store st -q"), 0);
  for (const char* verb : {"run g.json --store st", "plan g.json --store st", "validate g.json",
                           "kinds", "schema", "cache ls --store st", "cache du --store st --json",
                           "show t --store st", "graph g.json", "runs --store st", "--help"}) {
    EXPECT_NE(Shell(std::string("toy ") + verb + " >/dev/full"), 0) << verb;
    EXPECT_THAT(Read("err"), HasSubstr("standard output: No space left on device")) << verb;
  }
}

TEST_F(TerminalTest, AFullDiskBehindTheEventsIsNamed) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  Write("g.json", kOne);
  EXPECT_EQ(Shell("toy run g.json --store st -q --events /dev/full --summary s.json"), 1);
  EXPECT_THAT(Read("err"), HasSubstr("\"/dev/full\": No space left on device"));
  EXPECT_THAT(Read("s.json"), HasSubstr("\"steps\"")) << "the others are written";
}

TEST_F(TerminalTest, EventsOnStandardOutputStandBeforeWhatIsPrintedLater) {
  Write("g.json", kOne);
  EXPECT_EQ(Shell("toy run g.json --store st -q --events /dev/stdout"), 0) << Read("err");
  const std::string out = Read("out");
  EXPECT_TRUE(out.starts_with(R"({"event":"run_started")")) << out;
  EXPECT_THAT(out, HasSubstr("\n1 step: 0 cached, 1 run"));
}

TEST_F(TerminalTest, AReaderOfTheEventsThatGoesAwayDoesNotEndTheRun) {
  Write("g.json", kOne);
  EXPECT_EQ(Shell("exec 3> >(true); wait $!; "
                  "toy run g.json --store st -q --events /dev/fd/3 --summary s.json"),
            1);
  EXPECT_THAT(Read("err"), HasSubstr("\"/dev/fd/3\": Broken pipe"));
  EXPECT_THAT(Read("s.json"), HasSubstr("\"steps\"")) << "the others are written";
}

TEST_F(TerminalTest, WhatIsPrintedToAClosedStreamDoesNotLandInTheStore) {
  Write("g.json", kOne);
  EXPECT_EQ(Shell("toy run g.json --store st >&-"), 0) << Read("err");
  EXPECT_THAT(Read("st/locks"), Not(HasSubstr("start   t")));
  EXPECT_EQ(Shell("toy run g.json --store other <&- >&- 2>&-"), 0);
}

TEST_F(TerminalTest, ALimitOnTheSizeOfFilesIsAnErrorAndNoSignal) {
  Write("g.json", kSlow);
  EXPECT_EQ(Shell("ulimit -f 1; toy run g.json --store st -q"), 1);
  EXPECT_THAT(Read("err"), HasSubstr("File too large"));
}

TEST_F(TerminalTest, ATerminalThatKnowsNoCodesGetsNone) {
  if (Shell("command -v script") != 0) GTEST_SKIP() << "no script (Debian: bsdutils)";
  Write("g.json", kOne);
  const auto run_on = [&](const std::string& type) {
    EXPECT_EQ(Shell("SHELL=/bin/sh TERM=" + type +
                    " script -qec \"'" TOY_PUZZLE "' run g.json --store " + type + "\" /dev/null"),
              0)
        << Read("err");
    return Read("out");
  };
  EXPECT_THAT(run_on("dumb"), AllOf(HasSubstr("start   t"), Not(HasSubstr("\x1b"))));
  EXPECT_THAT(run_on("xterm"), HasSubstr("\x1b["));
}

TEST_F(TerminalTest, OtherPeoplesTextIsEscaped) {
  Write("g.json", R"({"puzzle": 1, "nodes": {"t": {"kind": "text", "foreach":
    {"a": ["x\u009b31my", "bidi\u202eevil"]}, "params": {"display": "\u001b[2Jtable ${a}"}}}})");
  for (const char* verb : {"plan g.json --store st --all", "run g.json --store st",
                           "cache ls --store st", "cache gc --max-size 0 --store st",
                           "graph g.json --steps", "plan g.json --store st --json"}) {
    EXPECT_EQ(Shell(std::string("toy ") + verb), 0) << Read("err");
    const std::string all = Read("out") + Read("err");
    EXPECT_THAT(all, AllOf(Not(HasSubstr("\x1b[2J")), Not(HasSubstr("\xC2\x9B")),
                           Not(HasSubstr("\xE2\x80\xAE"))))
        << verb;
  }
}

TEST_F(TerminalTest, AStoreThatMayNotBeLookedIntoDoesNotHideWhyAStepFailed) {
  Write("g.json",
        R"({"puzzle": 1, "nodes": {"f": {"kind": "fail", "params": {"message": "no luck"}}}})");
  ASSERT_EQ(Shell("toy run g.json --store st -q"), 1);
  fs::remove_all(path() + "/st/runs");
  Write("st/runs", "in the way");
  EXPECT_EQ(Shell("toy run g.json --store st -q"), 1);
  EXPECT_THAT(Read("err"), AllOf(HasSubstr("failed: f"), HasSubstr("no luck"),
                                 HasSubstr("warning: cannot write the log of this run")));
  EXPECT_THAT(Read("out"), HasSubstr("1 failed"));
}

}  // namespace
}  // namespace puzzle::testing
