// Runs side by side on one store, and stores over shared ones.
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "io/error.h"
#include "tests/graph/graph_test_fixture.h"
#include "tests/graph/races.h"

namespace puzzle::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ClaimsTest : public GraphTest {
 protected:
  ClaimsTest() { NewRival(); }

  /// Another run, on a store that is empty.
  void NewRival() {
    rival_.reset();
    fs::remove_all(folder() + "/store");
    rival_ = std::make_unique<Store>(folder() + "/store", format_);
    rival_->AnnounceRun();
  }

  /// Claims the key of a step as another run would.
  std::unique_ptr<Claim> ClaimAsRival(const std::string& step) {
    Plan();
    const Forecast forecast = MarkStale(*plan_, *store_);
    auto attempt = rival_->locks().TryClaim(forecast.steps[Find(step)].key);
    EXPECT_TRUE(attempt.claim);
    return std::move(attempt.claim);
  }
  /// Publishes a text as the result of a step, as another run would.
  void PublishAsRival(const std::string& key, const std::string& text) {
    auto draft = rival_->Begin();
    Text{text, ""}.Save(draft->writer());
    draft->Close();
    RecordDraft record;
    record.key = key;
    record.step = "theirs";
    record.kind = record.type = "text";
    record.recipe_json = "{}";
    static_cast<void>(rival_->Publish(std::move(draft), std::move(record), {}));
  }
  /// Calls `then` when a step begins to wait.
  void OnWait(const std::function<void(const std::string& step)>& then) {
    observer_.also = [this, then](const RunEvent& event) {
      if (event.type == RunEvent::Type::kStepWaits) then(plan_->steps[event.step].name);
    };
  }
  std::vector<std::string> Waits() const {
    std::vector<std::string> lines;
    for (const std::string& line : observer_.lines) {
      if (line.starts_with("wait ")) lines.push_back(line);
    }
    return lines;
  }

  std::unique_ptr<Store> rival_;
};

constexpr const char* kClaimPair = R"({"puzzle": 1, "nodes": {
  "a": {"kind": "text", "params": {"value": "mine"}},
  "b": {"kind": "sleep", "params": {"value": "slept"}},
  "c": {"kind": "upper", "in": {"in": "a"}}}})";

TEST_F(ClaimsTest, WhatAnotherRunComputesIsWaitedForAndThenAHit) {
  Load(kClaimPair);
  for (const std::string step : {"a", "b"}) {  // on a thread of TBB, and on a lane
    NewRival();
    auto claim = ClaimAsRival(step);
    const std::string key = MarkStale(*plan_, *store_).steps[Find(step)].key;
    OnWait([&](const std::string&) {
      PublishAsRival(key, "theirs");
      claim.reset();
    });
    Run();
    EXPECT_EQ(cached(), Steps(step.c_str()));
    EXPECT_EQ(TextOf(step), "theirs");
    EXPECT_EQ(report().ExitCode(), 0);
    EXPECT_THAT(Waits(), ElementsAre("wait " + step + ": process " + std::to_string(::getpid()) +
                                     " on " + HostName()));
  }
}

TEST_F(ClaimsTest, OtherWorkGoesOnWhileAStepWaits) {
  Load(R"({"puzzle": 1, "vars": {"n": {"range": [0, 6]}}, "nodes": {
    "s": {"kind": "sleep", "foreach": {"i": "${n}"}, "params": {"value": "v${i}"}}}})");
  devices_ = {Device{}};
  auto claim = ClaimAsRival("s[i=0]");
  int done = 0;
  observer_.also = [&](const RunEvent& event) {
    // The only lane gives the claimed step back and computes the other five meanwhile.
    if (event.type == RunEvent::Type::kStepDone && ++done == 5) claim.reset();
  };
  Run();
  EXPECT_EQ(ran().size(), 6u);
  EXPECT_EQ(observer_.lines.back(), "done");
  EXPECT_EQ(*(observer_.lines.end() - 2), "ok s[i=0]");
}

TEST_F(ClaimsTest, AClaimThatEndsWithoutAResultIsTakenOver) {
  Load(kClaimPair);
  auto claim = ClaimAsRival("a");
  OnWait([&](const std::string&) { claim.reset(); });
  Run();
  EXPECT_EQ(ran(), Steps("a", "b", "c"));
  EXPECT_EQ(TextOf("c"), "MINE");
}

TEST_F(ClaimsTest, AStopEndsTheWaitAtOnce) {
  Load(kClaimPair);
  const auto claim = ClaimAsRival("a");
  std::stop_source stop;
  options_.stop = stop.get_token();
  OnWait([&](const std::string&) { stop.request_stop(); });
  Run();  // the claim is never given back
  EXPECT_EQ(With(Outcome::kCancelled).count("a"), 1u);
  EXPECT_EQ(With(Outcome::kCancelled).count("c"), 1u);
  EXPECT_EQ(report().ExitCode(), 130);
}

TEST_F(ClaimsTest, AFailureElsewhereEndsTheWaitUnlessWeKeepGoing) {
  Load(R"({"puzzle": 1, "nodes": {
    "a": {"kind": "text", "params": {"value": "mine"}}, "f": {"kind": "fail"}}})");
  const auto claim = ClaimAsRival("a");
  Run();
  EXPECT_EQ(failed(), Steps("f"));
  EXPECT_EQ(With(Outcome::kCancelled), Steps("a"));
}

TEST_F(ClaimsTest, EqualStepsOfOneGraphAreComputedOnce) {
  Load(R"({"puzzle": 1, "vars": {"n": {"range": [0, 8]}}, "nodes": {
    "s": {"kind": "sleep", "foreach": {"i": "${n}"}, "params": {"value": "the same", "ms": 5}}}})");
  Run();
  EXPECT_EQ(ran().size(), 1u);
  EXPECT_EQ(cached().size(), 7u);
}

TEST_F(ClaimsTest, FourRunsAtOnceComputeEachStepOnce) {
  Load(kTwentyChains);
  Plan();
  ExpectFourRunsComputeEachStepOnce(*plan_, [&] {
    Store store(folder() + "/store", format_);
    store.AnnounceRun();
    LocalLanesOptions lanes_options;
    lanes_options.devices = devices_;
    LocalLanes lanes(std::move(lanes_options));
    return Execute(*plan_, MarkStale(*plan_, store), store, lanes, nullptr, options_);
  });
  EXPECT_THAT(rival_->locks().Others(), IsEmpty());
}

class SharedStoreTest : public GraphTest {
 protected:
  /// A run into the store that is the shared one afterwards.
  void RunShared() {
    Run();
    fs::rename(folder() + "/store", Shared());
    ReopenStore();
  }
  std::string Shared() const { return folder() + "/colleague"; }
  void RunOver(const std::vector<std::string>& shared) {
    shared_stores_ = shared;
    Run();
  }
  /// Names, sizes and times of everything below the shared folder.
  std::string Snapshot() const {
    std::string text;
    std::vector<fs::path> paths;
    for (const auto& entry : fs::recursive_directory_iterator(Shared())) {
      paths.push_back(entry.path());
    }
    std::sort(paths.begin(), paths.end());
    for (const fs::path& path : paths) {
      struct stat info {};
      ::stat(path.c_str(), &info);
      text += path.string() + ' ' + std::to_string(info.st_size) + ' ' +
              std::to_string(info.st_mtim.tv_nsec) + ' ' + std::to_string(info.st_ctim.tv_nsec) +
              '\n';
    }
    return text;
  }
};

constexpr const char* kClaimChain = R"({"puzzle": 1, "nodes": {
  "a": {"kind": "text", "params": {"value": "va"}},
  "b": {"kind": "text", "params": {"value": "vb"}},
  "all": {"kind": "concat", "in": {"parts": ["a", "b"]}},
  "up": {"kind": "upper", "in": {"in": "all"}}}})";

TEST_F(SharedStoreTest, ItsResultsAreHitsAndInputsAndNothingIsWrittenThere) {
  Load(kClaimChain);
  RunShared();
  const std::string before = Snapshot();
  RunOver({Shared()});
  EXPECT_EQ(cached().size(), 4u);
  EXPECT_EQ(TextOf("up"), "VA,VB");
  Set("b.value=new");
  RunOver({Shared()});
  EXPECT_EQ(ran(), Steps("b", "all", "up"));
  EXPECT_EQ(observer_.reasons["b"], "params.value: \"vb\" -> \"new\"");  // it knows the past too
  EXPECT_EQ(TextOf("up"), "NEW,VA");
  EXPECT_EQ(Snapshot(), before);
  RunOver({});
  EXPECT_EQ(ran(), Steps("a"));  // the private store has only what was made here
}

TEST_F(SharedStoreTest, SeveralAreSearchedInOrder) {
  Load(kClaimChain);
  RunShared();
  fs::rename(Shared(), folder() + "/first");
  Set("b.value=other");
  RunShared();
  fs::rename(Shared(), folder() + "/second");
  RunOver({folder() + "/first", folder() + "/second", folder() + "/none"});
  EXPECT_EQ(cached().size(), 4u);
}

TEST_F(SharedStoreTest, OneThatCannotBeWrittenIsAsGood) {
  Load(kClaimChain);
  RunShared();
  fs::remove(Shared() + "/index");  // so that records are read one by one
  for (const auto& entry : fs::recursive_directory_iterator(Shared())) {
    if (entry.is_directory()) fs::permissions(entry, fs::perms::owner_read | fs::perms::owner_exec);
  }
  Set("b.value=new");
  RunOver({Shared()});
  EXPECT_EQ(cached(), Steps("a"));
  EXPECT_EQ(TextOf("up"), "NEW,VA");
  EXPECT_THAT(observer_.warnings, IsEmpty());
  EXPECT_FALSE(fs::exists(Shared() + "/index"));
  for (const auto& entry : fs::recursive_directory_iterator(Shared())) {
    if (entry.is_directory()) fs::permissions(entry, fs::perms::owner_all);
  }
}

TEST_F(SharedStoreTest, ItsDamagedResultsAreMadeAnewInThePrivateStore) {
  Load(kClaimChain);
  RunShared();
  std::string file;
  for (const auto& entry : fs::recursive_directory_iterator(Shared())) {
    if (entry.path().extension() == ".h5") file = entry.path().string();
  }
  const auto text = [&] {
    std::ifstream in(file);
    return std::string(std::istreambuf_iterator<char>(in), {});
  }();
  ::usleep(10'000);
  std::string flipped = text;
  flipped[text.size() / 2] = static_cast<char>(flipped[text.size() / 2] ^ 1);
  std::ofstream(file, std::ios::trunc) << flipped;
  RunOver({Shared()});
  EXPECT_EQ(ran().size(), 1u);
  EXPECT_EQ(TextOf("up"), "VA,VB");
  EXPECT_THAT(observer_.warnings, ElementsAre(HasSubstr("artifact file damaged (" + Shared())));
  RunOver({Shared()});
  EXPECT_EQ(cached().size(), 4u);
  EXPECT_THAT(observer_.warnings, IsEmpty());
}

TEST_F(SharedStoreTest, ACopyWithOtherTimesIsReadOnceAndRemembered) {
  Load(kClaimChain);
  RunShared();
  for (const auto& entry : fs::recursive_directory_iterator(Shared())) {
    if (entry.path().extension() != ".h5") continue;
    fs::last_write_time(entry, fs::file_time_type::clock::now() - std::chrono::hours(5));
  }
  int opened = 0;
  format_.open = [&, open = format_.open](const std::string& path) {
    ++opened;
    return open(path);
  };
  RunOver({Shared()});
  EXPECT_EQ(cached().size(), 4u);
  EXPECT_EQ(opened, 4);
  RunOver({Shared()});
  EXPECT_EQ(cached().size(), 4u);
  EXPECT_EQ(opened, 4);
}

}  // namespace
}  // namespace puzzle::testing
