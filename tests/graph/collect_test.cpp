// `puzzle cache`: what goes, what stays, and that a live run never notices.
#include "graph/store/collect.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "io/error.h"
#include "tests/graph/graph_test_fixture.h"
#include "tests/io/no_more_files.h"

namespace puzzle::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr const char* kCollectGraph = R"({"puzzle": 1, "nodes": {
  "a": {"kind": "text", "params": {"value": "one"}},
  "b": {"kind": "upper", "in": {"in": "a"}},
  "c": {"kind": "concat", "in": {"parts": ["b"]}},
  "d": {"kind": "text", "params": {"value": "two"}}}})";

class CollectTest : public GraphTest {
 protected:
  /// Runs the graph; afterwards no run is alive.
  void RunAndEnd() {
    Run();
    End();
  }
  void End() {
    for (StepId id = 0; id < plan_->steps.size(); ++id) {
      keys_[plan_->steps[id].name] = std::string(report().steps[id].record.key);
    }
    store_.reset();
    cache_ = std::make_unique<Store>(folder() + "/store", format_);
  }
  std::string Artifact(const std::string& step) {
    return cache_->own().ArtifactPath(keys_.at(step));
  }
  /// Lets the last use of a result lie in the past.
  void Idle(const std::string& step, std::chrono::hours hours) {
    const auto then = std::chrono::system_clock::now() - hours;
    const timespec times[2] = {{std::chrono::system_clock::to_time_t(then), 0}, {0, UTIME_OMIT}};
    ASSERT_EQ(::utimensat(AT_FDCWD, Artifact(step).c_str(), times, 0), 0);
  }
  static int64_t Now() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
  /// Steps that would go.
  std::vector<std::string> Goes(const CollectOptions& options) {
    const Inventory inventory = TakeInventory(*cache_);
    std::vector<std::string> steps;
    for (const StoredResult* r : PlanCollection(*cache_, inventory, options, Now()).results) {
      steps.emplace_back(r->record.step);
    }
    return steps;
  }
  Removed Do(const CollectOptions& options) {
    const Inventory inventory = TakeInventory(*cache_);
    return Collect(*cache_, PlanCollection(*cache_, inventory, options, Now()));
  }

  static constexpr double kDay_s = 86400;
  std::map<std::string, std::string> keys_;
  std::unique_ptr<Store> cache_;  // as `puzzle cache` opens it
};

TEST_F(CollectTest, ByDefaultNothingButLeftoversGoes) {
  Load(kCollectGraph);
  RunAndEnd();
  for (const char* step : {"a", "b", "c", "d"}) Idle(step, std::chrono::hours(1000));
  const std::string orphan = folder() + "/store/ab/" + "ab" + std::string(62, '0') + ".h5";
  fs::create_directories(folder() + "/store/ab");
  std::ofstream(orphan) << "no record";
  EXPECT_THAT(Goes({}), IsEmpty());
  EXPECT_TRUE(fs::exists(orphan));  // a plan deletes nothing
  EXPECT_EQ(Do({}).leftovers, 1u);
  EXPECT_FALSE(fs::exists(orphan));
  RunAndEnd();
  EXPECT_EQ(cached().size(), 4u);
}

TEST_F(CollectTest, AFolderThatCannotBeRemovedIsAnError) {
  Load(kCollectGraph);
  RunAndEnd();
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  ::waitpid(child, nullptr, 0);
  const std::string left = folder() + "/store/tmp/" + HostName() + '.' + std::to_string(child) +
                           ".0123456789abcdef.1";  // of a program
  fs::create_directories(left + "/inside");
  cache_->AnnounceRun();
  const Inventory inventory = TakeInventory(*cache_);
  const CollectPlan plan = PlanCollection(*cache_, inventory, {}, Now());
  ASSERT_EQ(plan.leftovers.size(), 1u);
  {
    const NoMoreFiles full;
    EXPECT_THROW(Collect(*cache_, plan), Error);
  }
  EXPECT_EQ(Collect(*cache_, plan).leftovers, 1u);
  EXPECT_FALSE(fs::exists(left));
}

TEST_F(CollectTest, WhatIsOlderGoesAndTheRestStays) {
  Load(kCollectGraph);
  RunAndEnd();
  Idle("b", std::chrono::hours(24 * 40));
  Idle("d", std::chrono::hours(24 * 20));
  EXPECT_THAT(Goes({{}, 30 * kDay_s}), ElementsAre("b"));
  EXPECT_EQ(Do({{}, 30 * kDay_s}).results, 1u);
  EXPECT_FALSE(fs::exists(Artifact("b")));
  EXPECT_THAT(Forecasts(), ElementsAre("HIT a", "RUN b: missing", "WAIT c: waits for b", "HIT d"));
  EXPECT_THAT(observer_.warnings, IsEmpty());
}

TEST_F(CollectTest, ASizeIsReachedFromTheLeastRecentlyUsed) {
  Load(kCollectGraph);
  RunAndEnd();
  Idle("c", std::chrono::hours(30));
  Idle("a", std::chrono::hours(20));
  Idle("d", std::chrono::hours(10));
  const Inventory inventory = TakeInventory(*cache_);
  EXPECT_THAT(Goes({inventory.bytes, {}}), IsEmpty());
  EXPECT_THAT(Goes({inventory.bytes - 1, {}}), ElementsAre("c"));
  EXPECT_THAT(Goes({0, {}}), ElementsAre("c", "a", "d", "b"));
  const Removed removed = Do({inventory.bytes / 2, {}});
  EXPECT_LE(inventory.bytes - removed.bytes, inventory.bytes / 2);
  EXPECT_TRUE(fs::exists(Artifact("b")));
}

TEST_F(CollectTest, APinKeepsAResultAndAllItWasMadeFrom) {
  Load(kCollectGraph);
  RunAndEnd();
  const Inventory inventory = TakeInventory(*cache_);
  const auto found = FindResults(inventory, "c");
  ASSERT_EQ(found.size(), 1u);
  Pin(*cache_, *found[0]);
  EXPECT_THAT(Goes({0, {}}), ElementsAre("d"));
  EXPECT_EQ(Do({0, {}}).results, 1u);
  RunAndEnd();
  EXPECT_EQ(ran(), Steps("d"));
  const Inventory reopened = TakeInventory(*cache_);  // the run closed the store of the other one
  const auto pinned = FindResults(reopened, "c");
  ASSERT_EQ(pinned.size(), 1u);
  Unpin(*cache_, *pinned[0]);
  EXPECT_EQ(Goes({0, {}}).size(), 4u);
  EXPECT_THROW(Unpin(*cache_, *pinned[0]), Error);
}

TEST_F(CollectTest, ALiveRunKeepsWhatItFoundAndWhatItMade) {
  Load(kCollectGraph);
  RunAndEnd();
  for (const char* step : {"a", "b", "c", "d"}) Idle(step, std::chrono::hours(1000));
  ClearSettings();
  Set("d.value=new");
  Run();  // its store lives, as during a run
  {
    Store cache(folder() + "/store", format_);
    const Inventory inventory = TakeInventory(cache);
    const CollectPlan plan = PlanCollection(cache, inventory, {0, {}}, Now());
    ASSERT_EQ(plan.results.size(), 1u);  // the old d: nobody needs it
    EXPECT_EQ(plan.results[0]->record.key, keys_["d"]);
    EXPECT_EQ(plan.kept_by_runs, 4u);
    EXPECT_EQ(Collect(cache, plan).results, 1u);
  }
  End();
  EXPECT_EQ(Goes({0, {}}).size(), 4u);
}

TEST_F(CollectTest, WhatComesIntoUseAfterThePreviewStays) {
  Load(kCollectGraph);
  RunAndEnd();
  for (const char* step : {"a", "b", "c", "d"}) Idle(step, std::chrono::hours(1000));
  const Inventory inventory = TakeInventory(*cache_);
  const CollectPlan plan = PlanCollection(*cache_, inventory, {0, {}}, Now());
  EXPECT_EQ(plan.results.size(), 4u);
  Store run(folder() + "/store", format_);
  run.AnnounceRun();
  EXPECT_EQ(run.Find(keys_["b"]).presence, Presence::kWhole);
  const Removed removed = Collect(*cache_, plan);
  EXPECT_EQ(removed.results, 3u);
  EXPECT_EQ(removed.kept, 1u);
  EXPECT_EQ(run.Find(keys_["b"]).presence, Presence::kWhole);
  EXPECT_EQ(run.Find(keys_["a"]).presence, Presence::kAbsent);  // not "lost": nothing to warn of
}

TEST_F(CollectTest, NothingGoesWhileItIsReadAsASharedStore) {
  Load(kCollectGraph);
  RunAndEnd();
  Store over(folder() + "/private", format_, {folder() + "/store"});
  EXPECT_THAT(Goes({0, {}}), IsEmpty());
  const Inventory inventory = TakeInventory(*cache_);
  CollectPlan plan;
  plan.results = {&inventory.results[0]};
  EXPECT_THROW(Collect(*cache_, plan), Error);
  EXPECT_EQ(over.Find(keys_["a"]).presence, Presence::kWhole);
}

TEST_F(CollectTest, RunsNeverNoticeACollectorAtWork) {
  Load(kCollectGraph);
  RunAndEnd();
  std::atomic<bool> stop{false};
  std::atomic<int> removed{0};
  std::thread collector([&] {
    while (!stop) {
      Store cache(folder() + "/store", format_);
      const Inventory inventory = TakeInventory(cache);
      removed += static_cast<int>(
          Collect(cache, PlanCollection(cache, inventory, {0, {}}, Now())).results);
    }
  });
  // On a busy machine the collector has few turns: more runs, then, until it removed something.
  for (int i = 0; i < 60 || (removed == 0 && i < 10'000); ++i) {
    // Everything looks idle before each run; what the run finds it must keep to its end.
    for (const auto& [step, key] : keys_) {
      const std::string path = cache_->own().ArtifactPath(key);
      const timespec long_ago[2] = {{1'000'000, 0}, {0, UTIME_OMIT}};
      ::utimensat(AT_FDCWD, path.c_str(), long_ago, 0);
    }
    Run();
    EXPECT_EQ(report().ExitCode(), 0) << i;
    EXPECT_EQ(TextOf("c"), "ONE");  // opens what was found or made
    EXPECT_EQ(TextOf("d"), "two");
    EXPECT_THAT(observer_.warnings, IsEmpty());
    End();
  }
  stop = true;
  collector.join();
  EXPECT_GT(removed, 0);
}

TEST_F(CollectTest, NamesMeanStepsNodesOrBeginningsOfKeys) {
  Load(R"({"puzzle": 1, "vars": {"n": {"range": [0, 3]}}, "nodes": {
    "t": {"kind": "text", "foreach": {"i": "${n}"}, "params": {"value": "v${i}"}}}})");
  RunAndEnd();
  Set("t[i=1].value=w");
  RunAndEnd();
  const Inventory inventory = TakeInventory(*cache_);
  EXPECT_EQ(inventory.results.size(), 4u);
  EXPECT_EQ(FindResults(inventory, "t").size(), 3u);
  ASSERT_EQ(FindResults(inventory, "t[i=1]").size(), 1u);
  EXPECT_EQ(FindResults(inventory, "t[i=1]")[0]->record.key, keys_["t[i=1]"]);
  EXPECT_EQ(FindResults(inventory, keys_["t[i=0]"].substr(0, 12)).size(), 1u);
  EXPECT_THROW(static_cast<void>(FindResults(inventory, "u")), Error);
}

TEST_F(CollectTest, VerifyFindsWhatIsDamagedAndRepairRemovesIt) {
  Load(kCollectGraph);
  RunAndEnd();
  const auto verify = [&] {
    std::vector<std::string> found;
    const Inventory inventory = TakeInventory(*cache_);
    for (const Damage& d : VerifyStore(*cache_, inventory, {})) {
      found.push_back((d.step.empty() ? "?" : d.step) + ": " + d.what);
    }
    return found;
  };
  EXPECT_THAT(verify(), IsEmpty());
  fs::resize_file(Artifact("a"), 10);
  fs::remove(Artifact("b"));
  {
    std::fstream file(Artifact("d"), std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(fs::file_size(Artifact("d")) / 2));
    file.put('\x01');
  }
  EXPECT_THAT(verify(), UnorderedElementsAre("b: record without artifact",
                                             "a: artifact file has the wrong size",
                                             "d: artifact file damaged"));
  const Inventory inventory = TakeInventory(*cache_);
  EXPECT_EQ(RemoveDamaged(*cache_, VerifyStore(*cache_, inventory, {})), 3u);
  EXPECT_THAT(verify(), IsEmpty());
  RunAndEnd();
  EXPECT_EQ(ran(), Steps("a", "b", "d"));
  EXPECT_THAT(observer_.warnings, IsEmpty());
}

TEST_F(CollectTest, AFolderOfResultsThatCannotBeListedIsAnError) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may read everything";
  Load(kCollectGraph);
  RunAndEnd();
  for (const char first : std::string("0123456789abcdef"))  // wherever it comes among them
    for (const char second : std::string("0123456789abcdef"))
      fs::create_directories(folder() + "/store/" + first + second);
  const fs::path one = fs::path(Artifact("a")).parent_path();
  fs::permissions(one, fs::perms::none);
  EXPECT_THROW(static_cast<void>(TakeInventory(*cache_)), Error);
  fs::permissions(one, fs::perms::owner_all);
  EXPECT_EQ(TakeInventory(*cache_).results.size(), 4u);
}

TEST_F(CollectTest, AStoreThatIsNotThereIsNamed) {
  try {
    Store none(folder() + "/none", format_);
    static_cast<void>(TakeInventory(none));
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("there is no store \"" + folder() + "/none\""));
  }
}

}  // namespace
}  // namespace puzzle::testing
