// The store: all or nothing, and never a wrong result.
#include "graph/store/store.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "io/error.h"
#include "tests/graph/graph_test_fixture.h"

namespace puzzle::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::string Key(int i) {
  std::string key = std::to_string(i);
  return std::string(64 - key.size(), 'a') + key;
}

Record Put(Store& store, const std::string& key, const std::string& text,
           const Store::PublishOptions& options = {}) {
  auto draft = store.Begin();
  draft->writer().SetAttribute("text", text);
  draft->Close();
  RecordDraft record;
  record.key = key;
  record.step = "step";
  record.kind = "text";
  record.type = "text";
  record.recipe_json = "{}";
  record.scalars_json = draft->scalars_json();
  return store.Publish(std::move(draft), std::move(record), options);
}

std::string ReadText(const Store& store, const Record& record) {
  return store.Open(record)->Attribute("text").get<std::string>();
}

class StoreTest : public GraphTest {
 protected:
  void Damage(const std::string& path, size_t at) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(at));
    const char c = static_cast<char>(file.get() ^ 1);
    file.seekp(static_cast<std::streamoff>(at));
    file.put(c);
  }
};

TEST_F(StoreTest, WhatIsPublishedIsFoundByAnotherProcess) {
  const Record record = Put(*store_, Key(1), "hello");
  EXPECT_EQ(ReadText(*store_, record), "hello");
  Store other(folder() + "/store", format_);
  const auto found = other.Find(Key(1));
  ASSERT_EQ(found.presence, Presence::kWhole);
  EXPECT_EQ(found.record.digest, record.digest);
  EXPECT_EQ(RecordJson(found.record)["scalars"]["text"], "hello");
  EXPECT_EQ(other.Find(Key(2)).presence, Presence::kAbsent);
}

TEST_F(StoreTest, ADraftThatIsNotPublishedLeavesNothing) {
  {
    auto draft = store_->Begin();
    draft->writer().SetAttribute("text", "x");
    EXPECT_FALSE(fs::is_empty(folder() + "/store/tmp"));
  }
  EXPECT_TRUE(fs::is_empty(folder() + "/store/tmp"));
}

TEST_F(StoreTest, TheFirstOfTwoResultsForOneKeyStays) {
  const Record first = Put(*store_, Key(1), "one");
  Store other(folder() + "/store", format_);
  EXPECT_EQ(Put(other, Key(1), "two").digest, first.digest);
  EXPECT_EQ(ReadText(*store_, store_->Find(Key(1)).record), "one");
  EXPECT_NE(Put(other, Key(1), "two", {false, true}).digest, first.digest);
  EXPECT_EQ(ReadText(other, other.Find(Key(1)).record), "two");
}

TEST_F(StoreTest, AResultThatAnotherProcessReplacedIsTheNewOneAndNotDamaged) {
  Put(*store_, Key(1), "first");
  Store other(folder() + "/store", format_);
  ASSERT_EQ(other.Find(Key(1)).presence, Presence::kWhole);  // it has read the index
  Put(*store_, Key(1), "the second, which is longer", {.sync = false, .replace = true});
  const Lookup found = other.Find(Key(1));
  EXPECT_EQ(found.presence, Presence::kWhole);
  EXPECT_EQ(ReadText(other, found.record), "the second, which is longer");
}

TEST_F(StoreTest, WhoKnowsAnOlderResultDoesNotRemoveTheNewOne) {
  const Record first = Put(*store_, Key(1), "first");
  Store other(folder() + "/store", format_);
  Put(other, Key(1), "second", {.sync = false, .replace = true});
  EXPECT_FALSE(store_->RemoveIfDamaged(first));
  EXPECT_EQ(Store(folder() + "/store", format_).Find(Key(1)).presence, Presence::kWhole);
}

TEST_F(StoreTest, LostShortEmptyAndFlippedFilesAreNotHits) {
  const std::string file = store_->PathOf(Put(*store_, Key(1), "hello world"));
  const auto presence = [&] { return Store(folder() + "/store", format_).Find(Key(1)).presence; };
  EXPECT_EQ(presence(), Presence::kWhole);
  ::usleep(10'000);
  Damage(file, fs::file_size(file) / 2);
  EXPECT_EQ(presence(), Presence::kDamaged);
  Damage(file, fs::file_size(file) / 2);
  EXPECT_EQ(presence(), Presence::kWhole);
  fs::resize_file(file, fs::file_size(file) - 1);
  EXPECT_EQ(presence(), Presence::kShort);
  fs::resize_file(file, 0);
  EXPECT_EQ(presence(), Presence::kShort);
  fs::remove(file);
  EXPECT_EQ(presence(), Presence::kMissing);
  EXPECT_EQ(ReadText(*store_, Put(*store_, Key(1), "hello world")), "hello world");
  EXPECT_EQ(presence(), Presence::kWhole);
}

TEST_F(StoreTest, EveryDamagedByteOfAnArtifactIsNoticed) {
  Load(R"({"puzzle": 1, "nodes": {"a": {"kind": "text", "params": {"value": "some text"}},
           "b": {"kind": "upper", "in": {"in": "a"}}}})");
  Run();
  const std::string file = FileOf("a");
  const auto size = fs::file_size(file);
  for (size_t at = 0; at < size; at += 7) {
    ::usleep(5'000);
    Damage(file, at);
    Run();
    EXPECT_EQ(TextOf("a"), "some text") << at;
    EXPECT_EQ(TextOf("b"), "SOME TEXT") << at;
    EXPECT_EQ(report().ExitCode(), 0);
  }
}

TEST_F(StoreTest, ACopiedStoreIsCheckedOnceAndThenTrusted) {
  Load(R"({"puzzle": 1, "nodes": {"a": {"kind": "text", "params": {"value": "v"}}}})");
  Run();
  const auto file = FileOf("a");
  fs::last_write_time(file, fs::file_time_type::clock::now() + std::chrono::hours(1));
  int opened = 0;
  const ArchiveFormat counting{format_.create, [&](const std::string& path) {
                                 ++opened;
                                 return format_.open(path);
                               }};
  for (int i = 0; i < 3; ++i) {
    Store store(folder() + "/store", counting);
    EXPECT_EQ(store.Find(KeyOfStep("a")).presence, Presence::kWhole);
  }
  EXPECT_EQ(opened, 1);
}

TEST_F(StoreTest, TheIndexIsAShortcutAndNeverTheTruth) {
  for (int i = 0; i < 20; ++i) Put(*store_, Key(i), "text " + std::to_string(i));
  const std::string index = folder() + "/store/index";
  const auto all_found = [&] {
    Store store(folder() + "/store", format_);
    for (int i = 0; i < 20; ++i) {
      const auto found = store.Find(Key(i));
      if (found.presence != Presence::kWhole) return false;
      if (ReadText(store, found.record) != "text " + std::to_string(i)) return false;
    }
    return true;
  };
  EXPECT_TRUE(all_found());
  const auto size = fs::file_size(index);
  for (size_t at = 0; at < size; at += size / 40 + 1) {
    Damage(index, at);
    EXPECT_TRUE(all_found()) << at;
  }
  fs::resize_file(index, size / 2);  // torn
  EXPECT_TRUE(all_found());
  EXPECT_TRUE(all_found());
  fs::remove(index);
  EXPECT_TRUE(all_found());
  EXPECT_TRUE(fs::exists(index));  // made anew on the way
}

TEST_F(StoreTest, ADamagedRecordIsAMissNotACrash) {
  Put(*store_, Key(1), "hello");
  const std::string record = folder() + "/store/aa/" + Key(1) + ".json";
  fs::remove(folder() + "/store/index");
  for (size_t at = 0; at < fs::file_size(record) - 1; at += 5) {
    Damage(record, at);
    EXPECT_EQ(Store(folder() + "/store", format_).Find(Key(1)).presence, Presence::kAbsent) << at;
    Damage(record, at);
  }
  EXPECT_EQ(Store(folder() + "/store", format_).Find(Key(1)).presence, Presence::kWhole);
  fs::remove(folder() + "/store/index");
  std::ofstream(record, std::ios::trunc).close();
  EXPECT_EQ(Store(folder() + "/store", format_).Find(Key(1)).presence, Presence::kAbsent);
}

TEST_F(StoreTest, AFullDiskAtAnyMomentFailsTheStepAndKeepsTheRest) {
  Load(R"({"puzzle": 1, "nodes": {
    "a": {"kind": "text", "params": {"value": "a"}},
    "b": {"kind": "stream", "params": {"rows": 3}},
    "c": {"kind": "upper", "in": {"in": "a"}}}})");
  options_.keep_going = true;
  for (const std::string moment : {"create", "attribute", "begin", "append", "write", "close"}) {
    fs::remove_all(folder() + "/store");
    format_ = JsonFormat();
    Set("b.rows=2");
    Run();
    ASSERT_EQ(ran().size(), 3u);
    ClearSettings();
    Set("a.value=new");
    std::atomic<int> calls{0};
    format_ = JsonFormat([&](const std::string& call) { return call == moment; });
    Run();
    EXPECT_FALSE(failed().empty()) << moment;
    EXPECT_EQ(report().ExitCode(), 1);
    for (const auto& step : report().steps) {
      if (step.outcome == Outcome::kFailed) {
        EXPECT_THAT(step.message, HasSubstr("No space left on device"));
      }
    }
    EXPECT_TRUE(fs::is_empty(folder() + "/store/tmp")) << moment;
    ClearSettings();
    Set("b.rows=2");
    format_ = JsonFormat();
    Run();
    EXPECT_EQ(cached().size(), 3u) << moment;  // what was there is still there
    ClearSettings();
    Set("a.value=new");
    Run();
    EXPECT_EQ(report().ExitCode(), 0);
    EXPECT_EQ(TextOf("c"), "NEW");
    ClearSettings();
  }
}

TEST_F(StoreTest, AFolderThatCannotBeMadeFailsWithItsName) {
  std::ofstream(folder() + "/store") << "a file is in the way";
  Load(R"({"puzzle": 1, "nodes": {"a": {"kind": "text"}}})");
  Run();
  EXPECT_EQ(failed(), Steps("a"));
  EXPECT_THAT(report().steps[0].message, HasSubstr("cannot create the store"));
  EXPECT_THAT(report().steps[0].message, HasSubstr(folder() + "/store"));
}

TEST_F(StoreTest, AFolderWithoutWritePermissionFailsWithItsName) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write everywhere";
  Put(*store_, Key(1), "kept");
  fs::permissions(folder() + "/store/tmp", fs::perms::owner_read | fs::perms::owner_exec);
  Load(R"({"puzzle": 1, "nodes": {"a": {"kind": "text"}}})");
  Run();
  EXPECT_EQ(failed(), Steps("a"));
  fs::permissions(folder() + "/store/tmp", fs::perms::owner_all);
  EXPECT_EQ(store_->Find(Key(1)).presence, Presence::kWhole);
}

TEST_F(StoreTest, LeftoversOfDeadProcessesAreRemovedAndThoseOfLiveOnesKept) {
  Put(*store_, Key(1), "x");
  const std::string tmp = folder() + "/store/tmp/";
  char host[256] = {};
  ::gethostname(host, sizeof host - 1);
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  ::waitpid(child, nullptr, 0);
  const std::string dead = tmp + host + "." + std::to_string(child) + ".1";
  const std::string alive = tmp + host + "." + std::to_string(::getppid()) + ".1";
  const std::string elsewhere = tmp + "another-host." + std::to_string(child) + ".1";
  for (const std::string& path : {dead, alive, elsewhere}) std::ofstream(path) << "half";
  store_->TidyUp();
  EXPECT_FALSE(fs::exists(dead));
  EXPECT_TRUE(fs::exists(alive));
  EXPECT_TRUE(fs::exists(elsewhere));
}

TEST_F(StoreTest, ShortcutsMostOfWhoseLinesAreOutdatedAreRewritten) {
  const std::string last = folder() + "/store/last";
  Put(*store_, Key(1), "x");
  for (int i = 0; i < 3000; ++i) store_->Remember("a", Key(i % 2));
  store_->Remember("b", Key(2));
  const auto size = fs::file_size(last);
  Store store(folder() + "/store", format_);
  store.TidyUp();
  EXPECT_LT(fs::file_size(last), size / 1000);
  EXPECT_EQ(store.LastKey("a"), Key(1));
  EXPECT_EQ(Store(folder() + "/store", format_).LastKey("b"), Key(2));
}

TEST_F(StoreTest, RunsThatFindOneSetOfResultsAndAnotherInTurnDoNotLetItsFilesGrow) {
  std::vector<std::string> steps(600), keys(2 * steps.size());
  for (size_t i = 0; i < steps.size(); ++i) steps[i] = "s" + std::to_string(i);
  for (size_t i = 0; i < keys.size(); ++i) keys[i] = Key(static_cast<int>(i));
  Put(*store_, Key(1), "x");
  uintmax_t largest[2] = {0, 0};  // of the first runs, of the later ones
  for (size_t run = 0; run < 20; ++run) {
    StepKeys found;
    for (size_t i = 0; i < steps.size(); ++i) {
      found.emplace_back(steps[i], keys[i + run % 2 * steps.size()]);
    }
    Store(folder() + "/store", format_).RememberAll(found);
    largest[run / 10] = std::max(largest[run / 10], fs::file_size(folder() + "/store/last"));
  }
  EXPECT_LE(largest[1], largest[0]);
}

TEST_F(StoreTest, ManyThreadsPublishAndFindAtOnce) {
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        const int k = (i * (t + 1)) % 50;
        const Record record = Put(*store_, Key(k), "text " + std::to_string(k));
        if (ReadText(*store_, record) != "text " + std::to_string(k)) ++wrong;
        store_->Remember("s" + std::to_string(k), Key(k));
        const auto found = store_->Find(Key((k + 7) % 50));
        if (found.presence != Presence::kAbsent && found.presence != Presence::kWhole) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(store_->Find(Key(i)).presence, Presence::kWhole);
}

TEST_F(StoreTest, ManyKeysAreRememberedAtOnceAndOnlyWhenSomethingChanged) {
  const auto size = [&] { return fs::file_size(folder() + "/store/last"); };
  const std::string one = Key(1), two = Key(2), three = Key(3);
  const auto remember = [&](const std::string& a, const std::string& b) {
    ReopenStore();
    store_->RememberAll({{"a", a}, {"b[i=1]", b}});
    ReopenStore();
    EXPECT_EQ(store_->LastKey("a"), a);
    EXPECT_EQ(store_->LastKey("b[i=1]"), b);
    return size();
  };
  Put(*store_, Key(1), "text");  // makes the folder
  const auto first = remember(one, two);
  EXPECT_EQ(remember(one, two), first);
  const auto second = remember(one, three);
  EXPECT_GT(second, first);
  EXPECT_GT(remember(one, two), second);  // back again: the newest counts
  ReopenStore();
  store_->Remember("a", three);  // somebody else, since
  EXPECT_GT(remember(one, two), second);
  std::ofstream(folder() + "/store/last", std::ios::app) << "torn";
  remember(one, two);
}

TEST_F(StoreTest, LastKeysSurviveAndTheNewestCounts) {
  Put(*store_, Key(1), "x");
  store_->Remember("a", Key(1));
  store_->Remember("b[i=1]", Key(2));
  store_->Remember("a", Key(3));
  ReopenStore();
  EXPECT_EQ(store_->LastKey("a"), Key(3));
  EXPECT_EQ(store_->LastKey("b[i=1]"), Key(2));
  EXPECT_EQ(store_->LastKey("c"), std::nullopt);
}

}  // namespace
}  // namespace puzzle::testing
