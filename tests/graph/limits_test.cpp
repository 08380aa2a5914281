// Small graphs that stand for large things, and inputs that change under a run.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>
#include <utility>
#include <vector>

#include "graph/run/machine.h"
#include "graph/run/memory_meter.h"
#include "graph/store/files.h"
#include "tests/graph/graph_test_fixture.h"

namespace puzzle::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class LimitsTest : public GraphTest {
 protected:
  std::string ProblemsOf(const std::string& graph) {
    Load(graph);
    return Problems();
  }
};

std::string ChainOfVariables(int n) {
  std::string vars;
  for (int i = 0; i < n; ++i) {
    vars += "\"a" + std::to_string(i) + "\": \"${a" + std::to_string(i + 1) + "}\", ";
  }
  vars += "\"a" + std::to_string(n) + "\": \"end\"";
  return R"({"puzzle": 1, "vars": {)" + vars +
         R"(}, "nodes": {"t": {"kind": "text", "params": {"value": "${a0}"}}}})";
}

TEST_F(LimitsTest, AChainOfVariablesMayBeLongerThanTheStack) {
  EXPECT_EQ(ProblemsOf(ChainOfVariables(50'000)), "");
  Run();
  EXPECT_EQ(TextOf("t"), "end");
}

TEST_F(LimitsTest, ALongCircleIsOneShortMessage) {
  std::string vars;
  for (int i = 0; i < 2000; ++i) {
    vars += "\"a" + std::to_string(i) + "\": \"${a" + std::to_string((i + 1) % 2000) + "}\", ";
  }
  const std::string problems = ProblemsOf(R"({"puzzle": 1, "vars": {)" + vars +
                                          R"("x": 1}, "nodes": {"t": {"kind": "text"}}})");
  EXPECT_THAT(problems, HasSubstr("variables go round in a circle: a0 -> a1 -> "));
  EXPECT_LT(problems.size(), 1000u);
}

std::string Laughs(const std::string& first, const std::string& open, const std::string& item,
                   const std::string& close) {
  std::string vars = "\"a0\": " + first;
  for (int i = 1; i < 10; ++i) {
    vars += ", \"a" + std::to_string(i) + "\": " + open;
    for (int k = 0; k < 10; ++k) {
      std::string reference = "${a" + std::to_string(i - 1) + "}";
      vars += item.empty() ? reference : (k > 0 ? ", " : "") + item + reference + item;
    }
    vars += close;
  }
  return R"({"puzzle": 1, "vars": {)" + vars + R"(}, "nodes": {"t": {"kind": "text"}}})";
}

TEST_F(LimitsTest, TextsThatRepeatEachOtherAreRefusedAtTheVariable) {
  EXPECT_THAT(
      ProblemsOf(Laughs("\"lollollol!\"", "\"", "", "\"")),
      AllOf(HasSubstr("/vars/a6: with \"${a5}\" the text would be longer than 1048576 bytes"),
            HasSubstr("graph.json:1:")));
}

TEST_F(LimitsTest, ListsThatRepeatEachOtherAreRefusedAtTheVariable) {
  EXPECT_THAT(ProblemsOf(Laughs("[\"lol\"]", "[", "\"", "]")),
              AllOf(HasSubstr("/vars/a"), HasSubstr("would be more than 256 MiB")));
}

TEST_F(LimitsTest, ListsInListsHaveADepth) {
  std::string vars = "\"a0\": [1]";
  for (int i = 1; i < 100; ++i) {
    vars += ", \"a" + std::to_string(i) + "\": [\"${a" + std::to_string(i - 1) + "}\"]";
  }
  EXPECT_THAT(
      ProblemsOf(R"({"puzzle": 1, "vars": {)" + vars + R"(}, "nodes": {"t": {"kind": "text"}}})"),
      HasSubstr("/vars/a64: lists would stand in lists more than 64 times"));
}

TEST_F(LimitsTest, ManyRangesAreCountedTogether) {
  std::string vars;
  for (int i = 0; i < 100; ++i) {
    vars += "\"r" + std::to_string(i) + "\": {\"range\": [0, 1000000]}, ";
  }
  EXPECT_THAT(ProblemsOf(R"({"puzzle": 1, "vars": {)" + vars +
                         R"("x": 1}, "nodes": {"t": {"kind": "text"}}})"),
              HasSubstr("would be more than 256 MiB"));
}

TEST_F(LimitsTest, EdgesAreCountedBeforeTheyAreMade) {
  EXPECT_THAT(ProblemsOf(R"({"puzzle": 1, "nodes": {
    "t": {"kind": "text", "foreach": {"i": {"range": [0, 10000]}}, "params": {"value": "${i}"}},
    "c": {"kind": "concat", "foreach": {"k": {"range": [0, 3000]}}, "in": {"parts": ["t"]}}}})"),
              AllOf(HasSubstr("/nodes/c/in/parts"),
                    HasSubstr("more than 20000000 inputs of steps in the graph")));
}

TEST_F(LimitsTest, ExcludesAndOverridesTimesElementsAreCounted) {
  std::string entries;
  for (int i = 0; i < 3000; ++i) {
    entries += (i > 0 ? ", " : "") + std::string("{\"i\": ") + std::to_string(i) + "}";
  }
  EXPECT_THAT(ProblemsOf(R"({"puzzle": 1, "nodes": {"t": {"kind": "text",
    "foreach": {"i": {"range": [0, 1000000]}}, "exclude": [)" +
                         entries + "]}}}"),
              HasSubstr("1000000 elements and 3000 entries are more than"));
}

TEST_F(LimitsTest, AnAxisHasShortValuesAndANodeFewAxes) {
  EXPECT_THAT(ProblemsOf(R"({"puzzle": 1, "nodes": {"t": {"kind": "text", "foreach": {"i": [")" +
                         std::string(2000, 'x') + R"("]}}}})"),
              HasSubstr("has 2000 bytes, at most 1000"));
  std::string axes;
  for (int i = 0; i < 40; ++i)
    axes += (i > 0 ? ", " : "") + ("\"x" + std::to_string(i)) + "\": [1]";
  EXPECT_THAT(
      ProblemsOf(R"({"puzzle": 1, "nodes": {"t": {"kind": "text", "foreach": {)" + axes + "}}}}"),
      HasSubstr("more than 32 axes in one node"));
}

TEST_F(LimitsTest, VeryManyMistakesAreCutShort) {
  std::string nodes;
  for (int i = 0; i < 3000; ++i) {
    nodes += (i > 0 ? ", " : "") + ("\"n" + std::to_string(i)) + R"(": {"kind": "txt"})";
  }
  const std::string problems = ProblemsOf(R"({"puzzle": 1, "nodes": {)" + nodes + "}}");
  EXPECT_THAT(problems, HasSubstr("unknown kind \"txt\" (did you mean \"text\"?)"));
  EXPECT_LT(problems.size(), 200'000u);
}

TEST_F(LimitsTest, ControlCharactersOfAGraphAreEscapedInMessages) {
  const std::string problems = ProblemsOf(
      R"({"puzzle": 1, "nodes": {"t": {"kind": "text", "foreach": {"i": ["\u001b[31mred"]}}}})");
  EXPECT_THAT(problems, AllOf(Not(HasSubstr("\x1b")), HasSubstr("\\u001b[31mred")));
}

TEST_F(LimitsTest, AStepThatFillsWhatAnotherReadsIsAMistake) {
  const std::string models = folder() + "/models";
  fs::create_directory(models);
  std::ofstream(models + "/a") << "somebody's only copy";
  const auto problems = [&](const std::string& out) {
    return ProblemsOf(R"({"puzzle": 1, "nodes": {
      "d": {"kind": "folder", "params": {"path": ")" +
                      models + R"("}},
      "e": {"kind": "export", "in": {"in": "d"}, "params": {"path": ")" +
                      out + R"("}}}})");
  };
  EXPECT_THAT(problems(models + "/"),
              AllOf(HasSubstr("e fills the folder \"" + models + "\", which d reads"),
                    HasSubstr("/nodes/e/params")));
  fs::create_directory_symlink(models, folder() + "/alias");
  EXPECT_THAT(problems(folder() + "/alias"), HasSubstr("which d reads"));
  EXPECT_EQ(problems(models + "/child"), "");
}

TEST_F(LimitsTest, TwoStepsThatFillOneFolderAreAMistake) {
  const std::string out = folder() + "/out";
  EXPECT_THAT(ProblemsOf(R"({"puzzle": 1, "nodes": {
    "t": {"kind": "text", "foreach": {"i": [1, 2]}, "params": {"value": "${i}"}},
    "e": {"kind": "export", "foreach": {"i": [1, 2]}, "in": {"in": "t[i=${i}]"},
          "params": {"path": ")" +
                         out + R"("}}}})"),
              AllOf(HasSubstr("e[i=1] and e[i=2] both fill the folder \"" + out + "\""),
                    HasSubstr("/nodes/e/params")));
  fs::create_directory(out);
  fs::create_symlink(out, folder() + "/alias");
  EXPECT_THAT(ProblemsOf(R"({"puzzle": 1, "nodes": {
    "t": {"kind": "text", "params": {"value": "v"}},
    "e": {"kind": "export", "in": {"in": "t"}, "params": {"path": ")" +
                         out + R"(/"}},
    "f": {"kind": "export", "in": {"in": "t"}, "params": {"path": ")" +
                         folder() + R"(/alias"}}}})"),
              HasSubstr("e and f both fill the folder"));
  EXPECT_EQ(ProblemsOf(R"({"puzzle": 1, "nodes": {
    "t": {"kind": "text", "foreach": {"i": [1, 2]}, "params": {"value": "${i}"}},
    "e": {"kind": "export", "foreach": {"i": [1, 2]}, "in": {"in": "t[i=${i}]"},
          "params": {"path": ")" +
                       out + R"(/${i}"}}}})"),
            "");
}

TEST_F(LimitsTest, ATextOfTheCommandLineStaysAsItWasTyped) {
  Load(R"({"puzzle": 1, "vars": {"v": 1}, "nodes": {
    "t": {"kind": "text", "params": {"value": "x"}},
    "u": {"kind": "text", "params": {"value": "${v}"}},
    "w": {"kind": "text", "params": {"value": "<${v}>"}}}})");
  for (const char* typed : {"1.10", "994917e9", "8.0", "1e-3", "true", "[1, 2]"}) {
    ClearSettings();
    Set(std::string("t.value=") + typed);
    Run();
    EXPECT_EQ(TextOf("t"), typed);
  }
  ClearSettings();
  Set("vars.v=1.10");
  Run();
  EXPECT_EQ(TextOf("u"), "1.10");
  EXPECT_EQ(TextOf("w"), "<1.10>");
}

TEST_F(LimitsTest, AVariableThatStandsForATypedOneStaysAsItWasTyped) {
  source_ = folder() + "/main.json";
  WriteFile("base.json", R"({"puzzle": 1, "vars": {"version": "x", "same": "${version}"}, "nodes": {
    "t": {"kind": "text", "params": {"value": "${same}"}}}})");
  Load(R"({"puzzle": 1, "vars": {"v": 1, "w": "${vars.v}", "z": "${w}"},
    "include": {"b": {"file": "base.json", "vars": {"version": "${z}"}}},
    "nodes": {"t": {"kind": "text", "params": {"value": "<${z}>"}}}})");
  Set("vars.v=1.10");
  Run();
  EXPECT_EQ(TextOf("t"), "<1.10>");
  EXPECT_EQ(TextOf("b/t"), "1.10");
  ClearSettings();
  Run();
  EXPECT_EQ(TextOf("b/t"), "1");
}

// -------------------------------------------------------------------------------------------------
// Inputs that change

class ChangingInputTest : public GraphTest {
 protected:
  ChangingInputTest() {
    WriteFile("data.txt", "flour");
    std::this_thread::sleep_for(std::chrono::milliseconds(60));  // its times are settled
    Load(R"({"puzzle": 1, "nodes": {
      "first": {"kind": "text", "params": {"value": "x"}},
      "f": {"kind": "file", "params": {"path": ")" +
         path_ + R"("}}}})");
  }
  std::string path_ = folder() + "/data.txt";
};

TEST_F(ChangingInputTest, AFileThatChangesAfterItWasPlannedFailsItsStep) {
  Plan();
  WriteFile("data.txt", "grain");
  LocalLanesOptions lane_options;
  lane_options.devices = devices_;
  LocalLanes lanes(std::move(lane_options));
  const Report report = Execute(*plan_, forecast_, *store_, lanes, &observer_, options_);
  const StepResult& step = report.steps[Find("f")];
  EXPECT_EQ(step.outcome, Outcome::kFailed);
  EXPECT_THAT(step.message,
              AllOf(HasSubstr(path_), HasSubstr("changed after the run was planned")));
  Run();
  EXPECT_EQ(TextOf("f"), "grain");
  WriteFile("data.txt", "flour");
  Run();
  EXPECT_EQ(TextOf("f"), "flour") << "nothing wrong stands under the old content's key";
}

TEST_F(ChangingInputTest, AFileThatChangesWhileItsStepReadsItFailsTheStep) {
  Plan();
  int polls = 0;
  observer_.also = [&](const RunEvent& event) {
    // The step's result is about to be saved: it has read the file.
    if (event.type == RunEvent::Type::kStepSaving && event.step == Find("f") && polls++ == 0) {
      WriteFile("data.txt", "grain");
    }
  };
  LocalLanesOptions lane_options;
  lane_options.devices = devices_;
  LocalLanes lanes(std::move(lane_options));
  const Report report = Execute(*plan_, forecast_, *store_, lanes, &observer_, options_);
  EXPECT_EQ(report.steps[Find("f")].outcome, Outcome::kFailed);
  EXPECT_THAT(report.steps[Find("f")].message, HasSubstr("while the step read it"));
}

TEST_F(ChangingInputTest, TheWatchSeesAChangeWithSizeAndTimePutBack) {
  FileDigester digester("");
  const auto input = digester.KnowFile(path_);
  const auto time = fs::last_write_time(path_);
  const InputWatch watch({input});
  watch.Check();
  WriteFile("data.txt", "grain");
  fs::last_write_time(path_, time);
  EXPECT_THROW(watch.Check(), std::exception);
  EXPECT_THROW(InputWatch({input}), std::exception);
  WriteFile("data.txt", "flour");  // other times, the same content
  EXPECT_NO_THROW(InputWatch({input}));
}

TEST_F(ChangingInputTest, OfAFolderTheFileThatChangedIsNamed) {
  fs::create_directories(folder() + "/data/store");
  WriteFile("data/part", "flour");
  FileDigester digester("");
  const auto input = digester.KnowFolder(folder() + "/data", "id",
                                         [](const std::string&) { return std::string("digest"); });
  const InputWatch watch({input});
  WriteFile("data/store/locks", "of a store that lies in the folder");
  std::string message;
  try {
    watch.Check();
  } catch (const std::exception& error) {
    message = error.what();
  }
  EXPECT_THAT(message,
              HasSubstr("changed while the step read it (" + folder() + "/data/store/locks): "));
}

TEST_F(ChangingInputTest, WhatWasWrittenJustNowIsDigestedAgainAtEveryLook) {
  int digests = 0;
  const auto digest = [&](const std::string&) {
    ++digests;
    return std::string("digest");
  };
  const std::string memo = folder() + "/memo";
  fs::create_directories(folder() + "/data");
  // Only what happens within the 50 ms tells; a busy machine gets more attempts.
  bool tried = false;
  for (int attempt = 0; attempt < 200 && !tried; ++attempt) {
    fs::remove(memo);
    digests = 0;
    const auto begin = std::chrono::steady_clock::now();
    WriteFile("data/part", "flour");
    {
      FileDigester digester(memo);
      const auto input = digester.KnowFolder(folder() + "/data", "id", digest);
      const InputWatch watch({input});
      tried = std::chrono::steady_clock::now() - begin < std::chrono::milliseconds(40);
      watch.Check();
    }
    if (!tried) continue;
    EXPECT_EQ(digests, 3) << "once for the key, before and after the step";
    EXPECT_FALSE(fs::exists(memo) && fs::file_size(memo) > 0) << "nor is it remembered";
  }
  ASSERT_TRUE(tried);
  std::this_thread::sleep_for(std::chrono::milliseconds(60));
  digests = 0;
  FileDigester digester(memo);
  const InputWatch watch({digester.KnowFolder(folder() + "/data", "id", digest)});
  watch.Check();
  EXPECT_EQ(digests, 1);
  digester.Save();
  EXPECT_GT(fs::file_size(memo), 0u);
}

TEST_F(ChangingInputTest, ADigestIsNotRememberedForAnotherContentWithTheSameTime) {
  const std::string memo = folder() + "/memo";
  std::string before;
  const auto time = fs::last_write_time(path_);
  {
    FileDigester digester(memo);
    before = digester.File(path_);
    digester.Save();
  }
  WriteFile("data.txt", "grain");
  fs::last_write_time(path_, time);
  EXPECT_NE(FileDigester(memo).File(path_), before);
}

// -------------------------------------------------------------------------------------------------
// What it costs, and what the machine leaves

TEST(AllocatedBytesTest, ADearQuestionIsAskedSeldom) {
  double now_s = 0;
  int asked = 0;
  AllocatedBytes allocated(
      [&] {
        ++asked;
        now_s += 0.04;  // an old heap
        return uint64_t{1000} + static_cast<uint64_t>(asked);
      },
      [&] { return now_s; });
  for (int step = 0; step < 1000; ++step) {
    static_cast<void>(allocated.Get());
    now_s += 0.001;
  }
  EXPECT_LE(asked, 2);
  EXPECT_GE(asked, 1);
  now_s += 10;
  const int before = asked;
  EXPECT_GT(allocated.Get(), 1000u);
  EXPECT_EQ(asked, before + 1);
}

// Figures as the system would give them, one after another; the last one stays.
class PagesTold {
 public:
  explicit PagesTold(std::vector<PageWatch::Pages> pages) : pages_(std::move(pages)) {}
  PageWatch::Pages operator()() { return pages_[std::min(asked_++, pages_.size() - 1)]; }

 private:
  std::vector<PageWatch::Pages> pages_;
  size_t asked_ = 0;
};

// What a span gains where the figures are `at_first`, then those of every look.
uint64_t Gained(const PageWatch::Pages& at_first, std::vector<PageWatch::Pages> then) {
  const size_t looks = then.size();
  then.insert(then.begin(), at_first);
  PageWatch watch{PagesTold(then)};
  PageWatch::Span span(watch);
  for (size_t i = 1; i < looks; ++i) watch.Look();
  return span.gained();
}

TEST(PageWatchTest, PagesOfFilesDoNotCountWhenTheyAreGone) {
  EXPECT_EQ(Gained({100, 10, 110}, {{100, 510, 610}, {100, 10, 610}}), 0u);
  EXPECT_EQ(Gained({100, 10, 110}, {{130, 510, 640}, {120, 10, 640}}), 30u);
}

TEST(PageWatchTest, WhatWasFreedBetweenTwoLooksCounts) {
  EXPECT_EQ(Gained({100, 50, 150}, {{100, 50, 950}}), 800u);
  EXPECT_EQ(Gained({100, 50, 150}, {{100, 450, 950}}), 400u) << "the files were there for a part";
}

TEST(PageWatchTest, WhatWasBeforeTheSpanDoesNotCount) {
  EXPECT_EQ(Gained({100, 10, 5000}, {{170, 10, 5000}, {90, 10, 5000}}), 70u);
  EXPECT_EQ(Gained({100, 10, 5000}, {{60, 10, 5000}}), 0u) << "it gave some back";
}

TEST(PageWatchTest, ItLooksByItselfWhileSomebodyIsFollowed) {
  std::atomic<int> asked = 0;
  PageWatch watch([&] {
    ++asked;
    return PageWatch::Pages{};
  });
  for (int spans = 0; spans < 2; ++spans) {  // it sleeps between them
    const PageWatch::Span span(watch);
    const int before = asked;
    for (int i = 0; i < 10'000 && asked < before + 2; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_GE(asked, before + 2);
  }
}

#ifndef __SANITIZE_ADDRESS__
TEST(MemoryMeterTest, AMappedFileThatIsGoneIsNoMemoryOfTheStep) {
  const puzzle::testing::TemporaryFolder folder;
  const std::string path = folder.path() + "/mapped";
  constexpr size_t kMib = size_t{1} << 20;
  std::ofstream(path).close();
  AllocatedBytes allocated;
  PageWatch pages;
  // More than this process ever had: else its high-water mark would not move.
  const size_t bytes = PeakResidentBytes() + 64 * kMib;
  fs::resize_file(path, bytes);
  MemoryMeter meter(allocated, pages);
  {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    void* const mapped = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0);
    ::close(fd);
    ASSERT_NE(mapped, MAP_FAILED);
    uint64_t sum = 0;
    for (size_t i = 0; i < bytes; i += 4096) sum += static_cast<const volatile uint8_t*>(mapped)[i];
    EXPECT_EQ(sum, 0u);
    meter.Sample();
    ::munmap(mapped, bytes);
  }
  EXPECT_LT(meter.peak_bytes(), 16 * kMib);
  const std::vector<char> own(32 * kMib, 'x');
  EXPECT_GE(meter.peak_bytes(), 30 * kMib) << own.back();
}
#endif

class MachineTest : public ::testing::Test {
 protected:
  void Write(const std::string& name, const std::string& text) const {
    const std::string path = root_.path() + name;
    fs::create_directories(fs::path(path).parent_path());
    std::ofstream(path) << text;
  }
  TemporaryFolder root_;
};

TEST_F(MachineTest, TheTightestOfNestedGroupsCounts) {
  Write("/proc/self/cgroup", "0::/outer/inner\n");
  Write("/proc/self/mountinfo",
        "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n");
  Write("/sys/fs/cgroup/outer/cpu.max", "150000 100000\n");
  Write("/sys/fs/cgroup/outer/memory.max", "4000000000\n");
  Write("/sys/fs/cgroup/outer/memory.current", "3000000000\n");
  Write("/sys/fs/cgroup/outer/memory.stat", "anon 1\ninactive_file 500000000\n");
  Write("/sys/fs/cgroup/outer/inner/cpu.max", "max 100000\n");
  Write("/sys/fs/cgroup/outer/inner/memory.max", "max\n");
  const GroupLimits limits = ReadGroupLimits(root_.path());
  EXPECT_DOUBLE_EQ(limits.cores, 1.5);
  EXPECT_EQ(limits.free_bytes, 1'500'000'000u);
}

TEST_F(MachineTest, InAContainerTheTopOfTheMountIsItsGroup) {
  Write("/proc/self/cgroup", "0::/docker/abc\n");
  Write("/proc/self/mountinfo", "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
  Write("/sys/fs/cgroup/cpu.max", "50000 100000\n");
  EXPECT_DOUBLE_EQ(ReadGroupLimits(root_.path()).cores, 0.5);
}

TEST_F(MachineTest, AGroupWhoseNameBeginsLikeThatOfTheMountIsAnotherOne) {
  Write("/proc/self/cgroup", "0::/box2\n");
  Write("/proc/self/mountinfo", "30 23 0:26 /box /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
  Write("/sys/fs/cgroup/cpu.max", "50000 100000\n");
  EXPECT_DOUBLE_EQ(ReadGroupLimits(root_.path()).cores, 0.5);
}

TEST_F(MachineTest, VersionOneHasAHierarchyPerController) {
  Write("/proc/self/cgroup", "4:memory:/jobs/7\n3:cpu,cpuacct:/jobs/7\n1:name=systemd:/x\n");
  Write("/proc/self/mountinfo",
        "31 23 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
        "32 23 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
  Write("/sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_quota_us", "300000\n");
  Write("/sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_period_us", "100000\n");
  Write("/sys/fs/cgroup/cpu,cpuacct/jobs/7/cpu.cfs_quota_us", "-1\n");
  Write("/sys/fs/cgroup/cpu,cpuacct/jobs/7/cpu.cfs_period_us", "100000\n");
  Write("/sys/fs/cgroup/memory/jobs/7/memory.limit_in_bytes", "2000000000\n");
  Write("/sys/fs/cgroup/memory/jobs/7/memory.usage_in_bytes", "500000000\n");
  Write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  const GroupLimits limits = ReadGroupLimits(root_.path());
  EXPECT_DOUBLE_EQ(limits.cores, 3);
  EXPECT_EQ(limits.free_bytes, 1'500'000'000u);
}

TEST_F(MachineTest, AQuotaLeavesWholeCores) {
  EXPECT_EQ(WithinQuota(64, {.cores = 1.5}), 2);
  EXPECT_EQ(WithinQuota(64, {.cores = 3}), 3);
  EXPECT_EQ(WithinQuota(64, {.cores = 0.2}), 1);
  EXPECT_EQ(WithinQuota(2, {.cores = 3}), 2);
  EXPECT_EQ(WithinQuota(64, {}), 64);
}

TEST_F(MachineTest, WithoutGroupsNothingIsLimited) {
  const GroupLimits limits = ReadGroupLimits(root_.path());
  EXPECT_EQ(limits.free_bytes, UINT64_MAX);
  EXPECT_GT(limits.cores, 1e6);
  EXPECT_GE(AvailableCores(), 1);
  EXPECT_GT(AvailableMemory(), 0u);
}

}  // namespace
}  // namespace puzzle::testing
