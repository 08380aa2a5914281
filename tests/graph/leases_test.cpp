// Claims by files with heartbeats, where locks do not reach: nobody computes what a living run has,
// the dead are noticed, clocks do not matter, and two copies alive at once give one result.
#include "graph/store/leases.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "graph/store/locks.h"
#include "io/error.h"
#include "tests/graph/graph_test_fixture.h"
#include "tests/graph/races.h"
#include "tests/io/file_size_limit.h"

namespace puzzle::testing {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

const std::string kLeaseKey(64, 'a');
const LeaseTimes kQuick{.beat_s = 0.02, .lost_s = 0.4, .visible_s = 0.5};
const LeaseTimes kPatient{.beat_s = 0.02, .lost_s = 3600, .visible_s = 0.5};

/// Waits for `what` for up to ten seconds.
bool Eventually(const std::function<bool()>& what) {
  for (int i = 0; i < 1000; ++i) {
    if (what()) return true;
    std::this_thread::sleep_for(milliseconds(10));
  }
  return false;
}

class LeasesTest : public ::testing::Test {
 protected:
  std::string path() const { return folder_.path() + "/locks"; }
  void Announce(StoreLocks& locks, const LeaseTimes& times, bool only = true) const {
    fs::create_directories(folder_.path() + "/tmp");
    locks.UseLeases(times, only);
    locks.Announce();
  }
  /// A process that claims the key and waits.
  pid_t StartHolder(const LeaseTimes& times, bool only) const {
    int ready[2];
    EXPECT_EQ(::pipe(ready), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      StoreLocks locks(path());
      Announce(locks, times, only);
      const auto claim = locks.TryClaim(kLeaseKey);
      [[maybe_unused]] const auto n = ::write(ready[1], claim.claim ? "y" : "n", 1);
      ::pause();
      ::_exit(0);
    }
    char answer = 0;
    EXPECT_EQ(::read(ready[0], &answer, 1), 1);
    EXPECT_EQ(answer, 'y');
    ::close(ready[0]);
    ::close(ready[1]);
    return child;
  }
  static void End(pid_t process) {
    ::kill(process, SIGKILL);
    ::waitpid(process, nullptr, 0);
  }
  std::vector<std::string> Files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_.path() + "/leases")) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }

  TemporaryFolder folder_;
};

TEST_F(LeasesTest, AKeyIsClaimedOnceAndTheOthersLearnByWhom) {
  StoreLocks one(path()), two(path());
  Announce(one, kPatient);
  Announce(two, kPatient);
  auto mine = one.TryClaim(kLeaseKey);
  ASSERT_TRUE(mine.claim);
  const auto refused = two.TryClaim(kLeaseKey);
  EXPECT_FALSE(refused.claim);
  EXPECT_EQ(refused.holder, "process " + std::to_string(::getpid()) + " on " + HostName());
  EXPECT_TRUE(two.IsClaimed(kLeaseKey));
  mine.claim.reset();
  EXPECT_FALSE(two.IsClaimed(kLeaseKey));
  EXPECT_TRUE(two.TryClaim(kLeaseKey).claim);
}

TEST_F(LeasesTest, NothingIsLeftBehind) {
  {
    StoreLocks one(path());
    Announce(one, kPatient);
    EXPECT_TRUE(one.TryClaim(kLeaseKey).claim);
    EXPECT_EQ(Files().size(), 1u) << "the heartbeat";
  }
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(LeasesTest, AFolderThatCannotBeMadeFailsTheClaimAndNothingElse) {
  const std::string leases = folder_.path() + "/leases";
  std::ofstream(leases) << "in the way";
  {
    StoreLocks one(path()), two(path());
    Announce(one, kPatient, /*only=*/false);
    EXPECT_THROW((void)one.TryClaim(kLeaseKey), Error);
    EXPECT_FALSE(two.IsClaimed(kLeaseKey)) << "the lock is given back";
  }
  StoreLocks one(path());
  Announce(one, kPatient, /*only=*/false);
  EXPECT_THROW((void)one.TryClaim(kLeaseKey), Error);
  fs::remove(leases);
  EXPECT_TRUE(one.TryClaim(kLeaseKey).claim);
  EXPECT_EQ(Files().size(), 1u) << "the heartbeat";
}

TEST_F(LeasesTest, ALeaseThatCannotBeWrittenKeepsNobodyAway) {
  StoreLocks one(path()), two(path());
  Announce(one, kPatient);
  Announce(two, kPatient);
  {
    const FileSizeLimit full(0);
    EXPECT_TRUE(one.TryClaim(kLeaseKey).claim);
  }
  EXPECT_TRUE(two.TryClaim(kLeaseKey).claim);
}

TEST_F(LeasesTest, ADeadRunLosesItsClaimsWhenItsHeartHasBeenStillForLong) {
  const pid_t holder = StartHolder(kQuick, /*only=*/true);
  StoreLocks one(path());
  Announce(one, kQuick);
  for (int i = 0; i < 10; ++i) {  // for longer than the dead would be waited for
    EXPECT_FALSE(one.TryClaim(kLeaseKey).claim) << "it lives";
    std::this_thread::sleep_for(milliseconds(100));
  }
  End(holder);
  EXPECT_TRUE(Eventually([&] { return !one.IsClaimed(kLeaseKey); }));
  EXPECT_TRUE(one.TryClaim(kLeaseKey).claim);
}

TEST_F(LeasesTest, WhereLocksWorkTheDeadOfThisMachineAreKnownAtOnce) {
  const pid_t holder = StartHolder(kPatient, /*only=*/false);
  StoreLocks one(path());
  Announce(one, kPatient, /*only=*/false);
  EXPECT_FALSE(one.TryClaim(kLeaseKey).claim);
  End(holder);
  EXPECT_TRUE(one.TryClaim(kLeaseKey).claim) << "an hour has not passed";
}

TEST_F(LeasesTest, ARunThatSleptThroughItsLeaseDoesNotTakeTheNextOnes) {
  const pid_t sleeper = StartHolder(kQuick, /*only=*/true);
  ::kill(sleeper, SIGSTOP);
  StoreLocks one(path()), two(path());
  Announce(one, kQuick);
  Announce(two, kQuick);
  ASSERT_TRUE(Eventually([&] { return one.TryClaim(kLeaseKey).claim != nullptr; }));
  const auto mine = one.TryClaim(kLeaseKey);
  ASSERT_TRUE(mine.claim);
  ::kill(sleeper, SIGCONT);  // two have it now, and the third sees the one that is in the file
  std::this_thread::sleep_for(milliseconds(100));
  EXPECT_FALSE(two.TryClaim(kLeaseKey).claim);
  End(sleeper);
  EXPECT_FALSE(two.TryClaim(kLeaseKey).claim);
}

TEST_F(LeasesTest, ClocksThatDifferByAnHourChangeNothing) {
  StoreLocks one(path()), two(path());
  Announce(one, kQuick);
  Announce(two, kQuick);
  const auto mine = one.TryClaim(kLeaseKey);
  for (const auto shift : {std::chrono::hours(-1), std::chrono::hours(1)}) {
    for (int i = 0; i < 30; ++i) {  // as if the other machine stamped its files so
      for (const std::string& name : Files()) {
        fs::last_write_time(folder_.path() + "/leases/" + name,
                            fs::file_time_type::clock::now() + shift);
      }
      EXPECT_FALSE(two.TryClaim(kLeaseKey).claim);
      std::this_thread::sleep_for(milliseconds(20));
    }
  }
}

TEST_F(LeasesTest, ALeaseWhoseTextIsStillToComeIsTakenUntilItHasBeenEmptyForLong) {
  StoreLocks one(path());
  Announce(one, kQuick);
  EXPECT_TRUE(one.TryClaim(kLeaseKey).claim);
  const std::string lease = folder_.path() + "/leases/" + kLeaseKey;
  const std::string other = folder_.path() + "/leases/" + std::string(64, 'b');
  for (const std::string& file : {lease, other}) std::ofstream(file).close();
  EXPECT_FALSE(one.TryClaim(kLeaseKey).claim);
  EXPECT_TRUE(Eventually([&] { return one.TryClaim(kLeaseKey).claim != nullptr; }));
  EXPECT_FALSE(one.TryClaim(std::string(64, 'b')).claim)
      << "another one is seen for the first time";
}

TEST_F(LeasesTest, WhatIsOlderThanADayIsRemovedAndNothingElse) {
  fs::create_directories(folder_.path() + "/leases");
  const std::string old = folder_.path() + "/leases/run.old";
  const std::string recent = folder_.path() + "/leases/run.recent";
  for (const std::string& file : {old, recent}) ::close(::open(file.c_str(), O_CREAT, 0666));
  fs::last_write_time(old, fs::file_time_type::clock::now() - std::chrono::hours(25));
  fs::last_write_time(recent, fs::file_time_type::clock::now() - std::chrono::hours(23));
  StoreLocks one(path());
  Announce(one, kQuick);
  const auto claim = one.TryClaim(kLeaseKey);
  EXPECT_FALSE(fs::exists(old));
  EXPECT_TRUE(fs::exists(recent));
}

TEST_F(LeasesTest, ALeaseIsOldWhenTheHeartOfItsRunIs) {
  const auto age = [&](const std::string& name) {
    fs::last_write_time(folder_.path() + "/leases/" + name,
                        fs::file_time_type::clock::now() - std::chrono::hours(25));
  };
  StoreLocks one(path());
  Announce(one, kPatient);
  const auto mine = one.TryClaim(kLeaseKey);  // of a step that takes more than a day
  const std::string dead(64, 'b');
  std::ofstream(folder_.path() + "/leases/" + dead) << "1234 5678 another-boot/1 77 elsewhere";
  age(kLeaseKey);
  age(dead);
  StoreLocks two(path());
  Announce(two, kPatient);
  EXPECT_FALSE(two.TryClaim(kLeaseKey).claim) << "its run lives";
  EXPECT_FALSE(fs::exists(folder_.path() + "/leases/" + dead));
}

TEST_F(LeasesTest, RunsElsewhereAreSeenAsThoseWhoNeedEverything) {
  fs::create_directories(folder_.path() + "/leases");
  std::ofstream(folder_.path() + "/leases/run.1234") << "1234 5678 another-boot/1 77 elsewhere 3\n";
  StoreLocks one(path());
  one.Announce();
  ASSERT_EQ(one.Others().size(), 1u);
  EXPECT_EQ(one.Others()[0].Name(), "process 77 on elsewhere");
  EXPECT_EQ(one.Others()[0].token, "5678");
  EXPECT_EQ(one.Others()[0].needs_since_ns, 0);
}

TEST_F(LeasesTest, ARunWhoseHeartHasBeenStillForADayNeedsNothing) {
  fs::create_directories(folder_.path() + "/leases");
  fs::create_directories(folder_.path() + "/tmp");
  const std::string heart = folder_.path() + "/leases/run.1234";
  std::ofstream(heart) << "1234 5678 another-boot/1 77 elsewhere 3\n";
  const auto still_for = [&](int hours) {
    fs::last_write_time(heart, fs::file_time_type::clock::now() - std::chrono::hours(hours));
  };
  StoreLocks one(path());
  one.Announce();
  still_for(23);
  EXPECT_EQ(one.Others().size(), 1u);
  still_for(25);
  EXPECT_THAT(one.Others(), IsEmpty());
  EXPECT_TRUE(fs::is_empty(folder_.path() + "/tmp"));
}

TEST_F(LeasesTest, ManyThreadsNeverHoldOneKeyTwice) {
  StoreLocks one(path()), two(path());
  Announce(one, kPatient);
  Announce(two, kPatient);
  ExpectOneHolderAtATime(one, two, kLeaseKey, 500);
}

TEST(IsOfOneMachineTest, KnowsTheFileSystemsOfThisMachine) {
  const TemporaryFolder folder;
  EXPECT_TRUE(IsOfOneMachine(folder.path()));
  EXPECT_FALSE(IsOfOneMachine("/proc")) << "whatever is not known may be anywhere";
}

/// Runs on one store by leases.
class LeasedRunsTest : public GraphTest {
 protected:
  std::unique_ptr<Store> NewStore(const LeaseTimes& times) {
    auto store = std::make_unique<Store>(folder() + "/store", format_);
    store->locks().UseLeases(times, /*only=*/true);
    store->AnnounceRun();
    return store;
  }
  static Record Publish(Store& store, const std::string& key, const std::string& text) {
    auto draft = store.Begin();
    Text{text, ""}.Save(draft->writer());
    draft->Close();
    RecordDraft record;
    record.key = key;
    record.step = "s";
    record.kind = record.type = "text";
    record.recipe_json = "{}";
    return store.Publish(std::move(draft), std::move(record), {});
  }
  static std::string TextIn(const Store& store, const Record& record) {
    return store.Open(record)->Attribute("text").get<std::string>();
  }
  Report RunOn(Store& store) { return RunOn(store, observer_); }
  /// Runs at once need an observer each.
  Report RunOn(Store& store, RecordingObserver& observer) {
    LocalLanesOptions lanes_options;
    lanes_options.devices = devices_;
    LocalLanes lanes(std::move(lanes_options));
    return Execute(*plan_, MarkStale(*plan_, store), store, lanes, &observer, options_);
  }
};

TEST_F(LeasedRunsTest, TwoThatPublishAtOnceWithoutClaimsHaveOneResult) {
  constexpr int kRounds = 300;
  const auto one = NewStore(kQuick), two = NewStore(kQuick);
  std::atomic<int> ready{0};
  std::vector<Record> records[2];
  const auto publish = [&](int which) {
    for (int i = 0; i < kRounds; ++i) {
      const std::string key = (i < 16 ? "0" : "") + std::string(1, "0123456789abcdef"[i % 16]) +
                              std::string(60, 'a') + std::to_string(100 + i);
      ++ready;
      while (ready < 2 * (i + 1)) std::this_thread::yield();
      records[which].push_back(
          Publish(which == 0 ? *one : *two, key.substr(key.size() - 64),
                  std::string(static_cast<size_t>(1 + which), 'x') + std::to_string(i)));
    }
  };
  std::thread other(publish, 1);
  publish(0);
  other.join();
  int won[2] = {0, 0};
  for (int i = 0; i < kRounds; ++i) {
    EXPECT_EQ(records[0][i].digest, records[1][i].digest) << "both know who has won";
    const auto fresh = NewStore(kQuick);
    const Lookup found = fresh->Find(records[0][i].key);
    ASSERT_EQ(found.presence, Presence::kWhole);
    EXPECT_EQ(found.record.digest, records[0][i].digest);
    ++won[TextIn(*fresh, found.record).starts_with("xx") ? 1 : 0];
    EXPECT_EQ(DigestArchive(*fresh->Open(found.record)), found.record.digest)
        << "record and artifact are of one run";
  }
  EXPECT_EQ(won[0] + won[1], kRounds);
}

TEST_F(LeasedRunsTest, AnArtifactWhoseRecordNeverCameIsReplaced) {
  const auto store = NewStore(kQuick);
  const std::string path = store->own().ArtifactPath(kLeaseKey);
  fs::create_directories(fs::path(path).parent_path());
  WriteFile("orphan", "what a run left that was killed between two renames");
  fs::rename(folder() + "/orphan", path);
  const Record record = Publish(*store, kLeaseKey, "mine");
  EXPECT_EQ(TextIn(*store, record), "mine");
  EXPECT_EQ(store->Find(kLeaseKey).presence, Presence::kWhole);
}

TEST_F(LeasedRunsTest, FourRunsAtOnceComputeEachStepOnce) {
  Load(kTwentyChains);
  Plan();
  ExpectFourRunsComputeEachStepOnce(*plan_, [&] {
    RecordingObserver observer;
    return RunOn(*NewStore(kPatient), observer);
  });
}

TEST_F(LeasedRunsTest, AResultThatShowsUpLateIsWaitedForAndNotComputedAgain) {
  Load(R"({"puzzle": 1, "nodes": {"a": {"kind": "text", "params": {"value": "mine"}}}})");
  Plan();
  const std::string key = MarkStale(*plan_, *store_).steps[0].key;
  const auto rival = NewStore({0.02, 3600, 5}), store = NewStore({0.02, 3600, 5});
  auto claim = rival->locks().TryClaim(key).claim;
  std::thread later;
  observer_.also = [&](const RunEvent& event) {
    if (event.type != RunEvent::Type::kStepWaits) return;
    claim.reset();
    later = std::thread([&] {
      std::this_thread::sleep_for(milliseconds(300));
      Publish(*rival, key, "theirs");
    });
  };
  const Report report = RunOn(*store);
  later.join();
  EXPECT_EQ(report.steps[0].outcome, Outcome::kCached);
}

TEST_F(LeasedRunsTest, AnArtifactThatShowsUpAfterItsRecordIsNotDeclaredMissing) {
  const auto store = NewStore({0.02, 3600, 5});
  (void)Publish(*NewStore(kQuick), kLeaseKey, "theirs");
  const std::string path = store->own().ArtifactPath(kLeaseKey);
  fs::rename(path, folder() + "/late");
  std::thread later([&] {
    std::this_thread::sleep_for(milliseconds(300));
    fs::rename(folder() + "/late", path);
  });
  EXPECT_EQ(store->Find(kLeaseKey).presence, Presence::kWhole);
  later.join();
  fs::remove(path);
  const auto impatient = NewStore({0.02, 3600, 0.05});
  EXPECT_EQ(impatient->Find(kLeaseKey).presence, Presence::kMissing);
}

}  // namespace
}  // namespace puzzle::testing
