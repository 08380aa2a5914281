// Rules of the store and the selection that only matter when something odd happened.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "graph/plan/key.h"
#include "graph/store/collect.h"
#include "graph/store/save_points.h"
#include "io/fingerprint.h"
#include "tests/graph/graph_test_fixture.h"
#include "tests/io/no_more_files.h"

namespace {
std::atomic<int> syncs{0};
std::atomic<bool> times_are_somebody_elses{false};
}  // namespace

// Takes the place of the C library's for this program: whether data reached the disk before a name
// did can be seen in no other way.
extern "C" int fsync(int fd) {
  ++syncs;
  return static_cast<int>(::syscall(SYS_fsync, fd));
}

// So does this one: root may set the times of any file.
extern "C" int utimensat(int folder, const char* path, const timespec times[2],
                         int flags) noexcept {
  if (times_are_somebody_elses) {
    errno = EPERM;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_utimensat, folder, path, times, flags));
}

namespace puzzle::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;

class OddStoreTest : public GraphTest {
 protected:
  /// Flips a byte in the middle of a file and gives it its old time back.
  static void DamageUnseen(const std::string& path) {
    const auto time = fs::last_write_time(path);
    {
      std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
      const auto at = static_cast<std::streamoff>(fs::file_size(path) / 2);
      file.seekg(at);
      const char c = static_cast<char>(file.get() ^ 1);
      file.seekp(at);
      file.put(c);
    }
    fs::last_write_time(path, time);
  }
  static int64_t Now() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
};

constexpr const char* kOddPair = R"({"puzzle": 1, "nodes": {
  "a": {"kind": "text", "params": {"value": "v"}},
  "s": {"kind": "upper", "in": {"in": "a"}}}})";

TEST_F(OddStoreTest, TheSeedIsTheFirstEightBytesOfItsDigest) {
  Load(kOddPair);
  Plan();
  Fingerprint fingerprint;
  fingerprint.AddField("text");
  fingerprint.AddField(R"({"display":"","value":"v"})");
  EXPECT_EQ(fmt::format("{:016x}", SeedOf(*plan_, Find("a"))), fingerprint.Hex().substr(0, 16));
}

TEST_F(OddStoreTest, AResultOfAnotherTypeIsNotAccepted) {
  Load(kOddPair);
  Run();
  Load(R"({"puzzle": 1, "nodes": {
    "a": {"kind": "text", "params": {"value": "v"}},
    "s": {"kind": "count", "in": {"in": "a"}}}})");
  selection_.accept = {"s"};
  Run();
  EXPECT_EQ(ran(), Steps("s"));
  EXPECT_THAT(observer_.warnings, ElementsAre("s: there is no earlier result to accept"));
}

TEST_F(OddStoreTest, AcceptingDoesNotReplaceAResultThatIsOnlyDamaged) {
  Load(kOddPair);
  Run();
  const std::string file = FileOf("a");
  Set("a.value=later");
  Run();  // what the step had last
  ClearSettings();
  fs::resize_file(file, fs::file_size(file) / 2);
  ReopenStore();
  selection_.accept = {"a"};
  Run();
  EXPECT_EQ(ran(), Steps("a"));
  EXPECT_EQ(TextOf("a"), "v") << "not what it was later";
}

TEST_F(OddStoreTest, AResultIsNotDamagedBecauseTooManyFilesAreOpen) {
  Load(kOddPair);
  Run();
  const std::string key = KeyOfStep("a");
  const Record record = store_->Find(key).record;
  {
    const NoMoreFiles full;
    EXPECT_FALSE(store_->RemoveIfDamaged(record));
  }
  EXPECT_EQ(store_->Find(key).presence, Presence::kWhole);
}

TEST_F(OddStoreTest, ASharedResultIsNotDamagedBecauseTooManyFilesAreOpen) {
  Load(kOddPair);
  Run();
  const std::string key = KeyOfStep("a"), shared = folder() + "/shared";
  fs::last_write_time(FileOf("a"), fs::file_time_type::clock::now() + std::chrono::hours(1));
  fs::rename(folder() + "/store", shared);
  shared_stores_ = {shared};
  ReopenStore();
  store_->ReadIndex();
  {
    const NoMoreFiles full;
    EXPECT_EQ(store_->Find(key).presence, Presence::kDamaged);
  }
  EXPECT_EQ(store_->Find(key).presence, Presence::kWhole);
}

TEST_F(OddStoreTest, ARecordUnderAnotherKeysNameIsNoRecord) {
  Load(R"({"puzzle": 1, "nodes": {"a": {"kind": "text", "params": {"value": "one"}},
                                  "b": {"kind": "text", "params": {"value": "two"}}}})");
  Run();
  const auto put = [&](const char* extension) {
    const auto path = [&](const char* step) {
      return fs::path(FileOf(step)).replace_extension(extension);
    };
    fs::copy_file(path("a"), path("b"), fs::copy_options::overwrite_existing);
    fs::last_write_time(path("b"), fs::last_write_time(path("a")));
  };
  put(".h5");
  put(".json");
  fs::remove(folder() + "/store/index");
  ReopenStore();
  Run();
  EXPECT_EQ(ran(), Steps("b"));
  EXPECT_EQ(TextOf("b"), "two");
}

TEST_F(OddStoreTest,
       WhatASharedStoreWasFoundToHoldDamagedIsMadeAgainThoughItsTimeIsTheRecordedOne) {
  Load(kOddPair);
  Run();
  const std::string shared = folder() + "/colleague";
  const fs::path damaged = shared + FileOf("a").substr((folder() + "/store").size());
  fs::rename(folder() + "/store", shared);
  shared_stores_ = {shared};
  DamageUnseen(damaged.string());
  ReopenStore();
  Load(R"({"puzzle": 1, "nodes": {
    "a": {"kind": "text", "params": {"value": "v"}},
    "s": {"kind": "concat", "in": {"parts": ["a"]}}}})");
  Run();  // reads it, finds the damage
  ReopenStore();
  Run();
  EXPECT_EQ(TextOf("a"), "v");
  EXPECT_EQ(TextOf("s"), "v");
  EXPECT_EQ(report().ExitCode(), 0);
}

TEST_F(OddStoreTest, AResultOfMoreThanASecondReachesTheDiskBeforeItsName) {
  Load(
      R"({"puzzle": 1, "nodes": {"quick": {"kind": "sleep", "params": {"ms": 1, "value": "q"}}}})");
  syncs = 0;
  Run();
  EXPECT_EQ(syncs, 0) << "quick ones can be made again";
  Load(R"({"puzzle": 1, "nodes": {"slow": {"kind": "sleep", "params": {"ms": 1100}}}})");
  Run();
  EXPECT_GE(syncs, 2) << "artifact and record";
}

constexpr const char* kOddClimb =
    R"({"puzzle": 1, "nodes": {"up": {"kind": "climb", "params": {"to": 3}}}})";

TEST_F(OddStoreTest, ASavePointReachesTheDiskBeforeItTakesThePlaceOfAnother) {
  options_.save_point_s = 0;
  Load(kOddClimb);
  syncs = 0;
  Run();
  EXPECT_GE(syncs, 3) << "one per round";
}

TEST_F(OddStoreTest, TheShortEndOfALongStepReachesTheDiskBeforeItsName) {
  Load(kOddClimb);
  Plan();
  auto draft = store_->Begin();
  draft->writer().SetAttribute("at", 2);
  draft->writer().SetAttribute("elapsed_s", 3600);
  draft->Close();
  store_->save_points().Put(forecast_.steps[Find("up")].key, *draft);
  syncs = 0;
  Run();
  EXPECT_EQ(TextOf("up"), "from 2");
  EXPECT_GE(syncs, 2) << "artifact and record";
}

TEST_F(OddStoreTest, ForcingAnAncestorThatIsNotSelectedForcesNothing) {
  Load(kOddPair);
  Run();
  selection_.only = {"s"};
  selection_.force = {"*"};
  EXPECT_THAT(Forecasts(), ElementsAre("HIT a", "RUN s: forced"));
}

class OddCollectTest : public OddStoreTest {
 protected:
  // A store that nobody works in, and all of it about to go.
  void Prepare() {
    Load(kOddPair);
    Run();
    key_ = KeyOfStep("a");
    store_.reset();
    cache_ = std::make_unique<Store>(folder() + "/store", format_);
    const timespec old[2] = {{1'000'000'000, 0}, {0, UTIME_OMIT}};
    for (const auto& entry : fs::recursive_directory_iterator(folder() + "/store")) {
      if (entry.path().extension() != ".h5") continue;
      ASSERT_EQ(::utimensat(AT_FDCWD, entry.path().c_str(), old, 0), 0);
    }
    inventory_ = TakeInventory(*cache_);
    plan_to_collect_ = PlanCollection(*cache_, inventory_, {0, {}}, Now());
    ASSERT_EQ(plan_to_collect_.results.size(), 2u);
  }
  std::string Artifact() { return cache_->own().ArtifactPath(key_); }

  std::string key_;
  std::unique_ptr<Store> cache_;
  Inventory inventory_;
  CollectPlan plan_to_collect_;
};

TEST_F(OddCollectTest, APinThatIsSetAfterThePreviewCounts) {
  Prepare();
  for (const StoredResult& result : inventory_.results)
    if (result.record.key == key_) Pin(*cache_, result);
  const Removed removed = Collect(*cache_, plan_to_collect_);
  EXPECT_EQ(removed.results, 1u);
  EXPECT_EQ(removed.kept, 1u);
  EXPECT_TRUE(fs::exists(Artifact()));
}

TEST_F(OddCollectTest, ARunThatMayNotSetTheTimeOfWhatItUsesKeepsEverything) {
  Prepare();
  Store run(folder() + "/store", format_);
  run.AnnounceRun();
  times_are_somebody_elses = true;
  const Presence found = run.Find(key_).presence;
  times_are_somebody_elses = false;
  EXPECT_EQ(found, Presence::kWhole);
  EXPECT_EQ(Collect(*cache_, plan_to_collect_).results, 0u);
  EXPECT_EQ(run.Find(key_).presence, Presence::kWhole);
}

TEST_F(OddCollectTest, AUseAfterThePreviewCountsThoughNoRunLivesAnyMore) {
  Prepare();
  const timespec now[2] = {{1'500'000'000, 0}, {0, UTIME_OMIT}};
  ASSERT_EQ(::utimensat(AT_FDCWD, Artifact().c_str(), now, 0), 0);
  EXPECT_EQ(Collect(*cache_, plan_to_collect_).kept, 1u);
  EXPECT_TRUE(fs::exists(Artifact()));
}

}  // namespace
}  // namespace puzzle::testing
