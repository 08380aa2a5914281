// Stores on file systems that refuse something: room, locks, or being written at all.
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <filesystem>

#include "tests/apps/cli_test_fixture.h"

namespace puzzle::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

class FileSystemTest : public CliTest {};

/// A file system in memory that only this process and those that it starts see.
class SmallFileSystem {
 public:
  SmallFileSystem(std::string path, const std::string& size) : path_(std::move(path)) {
    fs::create_directories(path_);
    // Private first: what is mounted here must not appear anywhere else.
    mounted_ = ::unshare(CLONE_NEWNS) == 0 &&
               ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
               ::mount("tmpfs", path_.c_str(), "tmpfs", 0, ("size=" + size).c_str()) == 0;
    if (!mounted_) problem_ = std::string("cannot mount a file system: ") + ::strerror(errno);
  }
  SmallFileSystem(const SmallFileSystem&) = delete;
  SmallFileSystem& operator=(const SmallFileSystem&) = delete;
  ~SmallFileSystem() {
    if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
  }

  void Resize(const std::string& size) const {
    ASSERT_EQ(::mount("tmpfs", path_.c_str(), "tmpfs", MS_REMOUNT, ("size=" + size).c_str()), 0);
  }
  /// "" when it is there.
  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  const std::string path_;
  bool mounted_ = false;
  std::string problem_;
};

/// From now on every request for a lock on a file fails in this process and in what it becomes, as
/// on a network file system whose lock manager is not there.
void RefuseLocks() {
  constexpr auto kNumber = offsetof(seccomp_data, nr);
  constexpr auto kCommand = offsetof(seccomp_data, args[1]);
  constexpr uint32_t kRefuse = SECCOMP_RET_ERRNO | ENOLCK;
  std::array<sock_filter, 8> program = {{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kNumber),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_flock, 4, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_fcntl, 0, 4),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kCommand),  // F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, F_OFD_GETLK, 0, 2),
      BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, F_OFD_SETLKW, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, kRefuse),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog filter{program.size(), program.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
    ::_exit(97);
  }
}

constexpr const char* kNoLocks = "has no locks: steps are claimed by files with heartbeats";

TEST_F(FileSystemTest, AFileThatGrowsTooLargeFailsTheStepAndKeepsTheRest) {
  Write("g.json", R"({"puzzle": 1, "nodes": {
    "a": {"kind": "text", "params": {"value": "small"}},
    "r": {"kind": "stream", "params": {"rows": 1000}}}})");
  EXPECT_EQ(Puzzle({"run", "g.json", "--set", "r.rows=1"}).status, 0);
  const pid_t limited = toy_.Start({"run", "g.json"}, "", [] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{4096, 4096};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  });
  const Result full = toy_.Finish(limited);
  EXPECT_EQ(full.status, 1) << full.out;
  EXPECT_THAT(full.err, HasSubstr("failed: r (kind stream"));
  EXPECT_THAT(full.err, HasSubstr("store/tmp/"));
  EXPECT_TRUE(fs::is_empty(store() + "/tmp"));
  EXPECT_THAT(Puzzle({"plan", "g.json", "--set", "r.rows=1"}).out, HasSubstr("2 steps: 2 HIT"));
  EXPECT_EQ(Puzzle({"run", "g.json"}).status, 0);
}

TEST_F(FileSystemTest, AFullFileSystemFailsWhatDoesNotFitAndLosesNothing) {
  Write("g.json", kSlow);
  size_t failures = 0;
  for (int kib = 8; kib <= 512; kib *= 2) {
    const SmallFileSystem small(store(), std::to_string(kib) + "k");
    if (!small.problem().empty()) GTEST_SKIP() << small.problem();
    const Result full = Puzzle({"run", "g.json", "-k"});
    if (full.status != 0) {
      ++failures;
      EXPECT_EQ(full.status, 1) << kib << " KiB: " << full.text();
      EXPECT_THAT(full.err, HasSubstr("No space left on device")) << kib << " KiB";
      EXPECT_THAT(full.text(), Not(HasSubstr("errno"))) << "a library's own words";
    }
    small.Resize("16m");
    const Result again = Puzzle({"run", "g.json", "--summary", "summary.json"});
    ASSERT_EQ(again.status, 0) << kib << " KiB: " << again.text();
    EXPECT_THAT(again.text(), Not(HasSubstr("warning"))) << "nothing is damaged";
    EXPECT_EQ(Summary()["results"]["end"]["text"], "SV0,SV1,SV2,SV3,SV4,SV5");
    EXPECT_EQ(Summary()["steps"]["cached"].get<size_t>(), CountOf("done    ", full.out)) << kib;
    EXPECT_EQ(Puzzle({"cache", "verify"}).status, 0);
  }
  EXPECT_GE(failures, 3u);
}

TEST_F(FileSystemTest, WhereEverythingIsAHitAFullFileSystemDoesNotMatter) {
  Write("g.json", kGraph);
  const SmallFileSystem small(store(), "16m");
  if (!small.problem().empty()) GTEST_SKIP() << small.problem();
  ASSERT_EQ(Puzzle({"run", "g.json"}).status, 0);
  Write("store/ballast", std::string(size_t{16} << 20, 'x'));
  const Result run = Puzzle({"run", "g.json"});
  EXPECT_EQ(run.status, 0) << run.text();
  EXPECT_THAT(run.out, HasSubstr("8 steps: 8 cached"));
  EXPECT_EQ(run.err, "");
}

TEST_F(FileSystemTest, WithoutLocksRunsSaySoOnceAndStillComputeEachStepOnce) {
  Write("g.json", kSlow);
  std::vector<pid_t> runs;
  for (const char* tag : {"1", "2"}) {
    runs.push_back(toy_.Start({"run", "g.json", "--devices", "cpu,cpu"}, tag, RefuseLocks));
  }
  size_t computed = 0;
  for (const char* tag : {"1", "2"}) {
    const Result run = toy_.Finish(runs[tag[0] - '1'], tag);
    ASSERT_NE(run.status, 97) << "no filter of system calls here";
    EXPECT_EQ(run.status, 0) << run.text();
    EXPECT_EQ(CountOf(kNoLocks, run.text()), 1u) << run.text();
    EXPECT_EQ(CountOf("warning", run.text()), 1u) << run.text();
    computed += CountOf("done    ", run.out);
  }
  EXPECT_EQ(computed, 20u);
  EXPECT_THAT(Puzzle({"plan", "g.json"}).out, HasSubstr("20 steps: 20 HIT"));
  EXPECT_EQ(Puzzle({"cache", "verify"}).status, 0);
  EXPECT_TRUE(fs::is_empty(store() + "/tmp"));
  const Result again = toy_.Finish(toy_.Start({"run", "g.json"}, "", RefuseLocks));
  EXPECT_EQ(CountOf("warning", again.text()), 0u) << "it had nothing to claim: " << again.text();
}

TEST_F(FileSystemTest, WithoutLocksNothingIsRemoved) {
  Write("g.json", kGraph);
  ASSERT_EQ(Puzzle({"run", "g.json"}).status, 0);
  const Result gc =
      toy_.Finish(toy_.Start({"cache", "gc", "--max-size", "0", "--yes"}, "", RefuseLocks));
  EXPECT_EQ(gc.status, 1) << gc.text();
  EXPECT_THAT(gc.err, HasSubstr("no locks"));
  EXPECT_THAT(Puzzle({"run", "g.json"}).out, HasSubstr("8 steps: 8 cached"));
}

TEST_F(FileSystemTest, AStoreThatCannotBeWrittenIsOneClearMessage) {
  Write("g.json", R"({"puzzle": 1, "nodes": {"a": {"kind": "text"}}})");
  Write("file", "in the way");
  const Result result = Puzzle({"run", "g.json", "--store", "file/store"});
  EXPECT_EQ(result.status, 1);
  EXPECT_THAT(result.err, HasSubstr("cannot create the store \"file/store\""));
}

}  // namespace
}  // namespace puzzle::testing
