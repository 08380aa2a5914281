// Runs that are interrupted, killed and run side by side, and stores that are damaged.
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "tests/apps/cli_test_fixture.h"

namespace puzzle::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

class FaultsTest : public CliTest {};

/// Rounds of the tests that kill and damage at random; the environment asks for more.
int Rounds(int usual) {
  const char* factor = std::getenv("PUZZLE_FAULT_FACTOR");
  return usual * (factor == nullptr ? 1 : std::max(1, std::atoi(factor)));
}

/// Results that the store has, not counting what was being written.
size_t CountRecords(const std::string& store) {
  if (!fs::exists(store)) return 0;
  size_t records = 0;
  for (const auto& entry : fs::recursive_directory_iterator(store)) {
    if (entry.path().extension() == ".json") ++records;
  }
  return records;
}

/// Deletes a file, cuts it short or flips a bit.
void Damage(const std::string& path, std::mt19937& random) {
  const auto size = fs::file_size(path);
  const auto at = random() % (size + 1);
  switch (random() % 3) {
    case 0:
      fs::remove(path);
      break;
    case 1:
      fs::resize_file(path, at);
      break;
    default: {
      if (at == size) break;
      std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
      file.seekg(static_cast<std::streamoff>(at));
      const char flipped = static_cast<char>(file.get() ^ (1 << random() % 8));
      file.seekp(static_cast<std::streamoff>(at));
      file.put(flipped);
    }
  }
}

TEST_F(FaultsTest, InterruptingStopsCleanlyAndTheNextRunGoesOn) {
  Write("g.json", R"({"puzzle": 1, "nodes": {
    "t": {"kind": "text", "params": {"value": "v"}},
    "s": {"kind": "sleep", "in": {"in": "t"}, "params": {"ms": 60000}},
    "u": {"kind": "upper", "in": {"in": "s"}}}})");
  const pid_t child = toy_.Start({"run", "g.json"});
  for (int i = 0; i < 500 && CountOf("start   s", toy_.OutputOf()) == 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  ::kill(child, SIGINT);
  const Result interrupted = toy_.Finish(child);
  EXPECT_EQ(interrupted.status, 130);
  EXPECT_THAT(interrupted.err, HasSubstr("\nstopping; once more to kill\n"));
  EXPECT_THAT(interrupted.out, HasSubstr("3 steps: 0 cached, 1 run, 2 cancelled"));
  EXPECT_THAT(Puzzle({"run", "g.json", "--set", "s.ms=1"}).out, HasSubstr("1 cached"));
}

TEST_F(FaultsTest, KilledAtAnyInstantTheNextRunFinishesWhatWasInFlight) {
  Write("g.json", kSlow);
  const std::vector<std::string> command = {"run", "g.json", "--devices", "cpu,cpu"};
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_EQ(Puzzle(command).status, 0);
  const std::chrono::duration<double> whole = std::chrono::steady_clock::now() - begin;
  std::mt19937 random(3);
  std::uniform_real_distribution<double> part(0, 1);
  int killed = 0, midway = 0;
  const int rounds = Rounds(200);
  for (int round = 0; round < rounds; ++round) {
    fs::remove_all(store());
    const pid_t child = toy_.Start(command);
    std::this_thread::sleep_for(part(random) * whole);
    ::kill(child, SIGKILL);
    if (toy_.Finish(child).status == 128 + SIGKILL) ++killed;
    const size_t records = CountRecords(store());
    if (records > 0 && records < 20) ++midway;
    const Result rerun = Puzzle({"run", "g.json", "--summary", "summary.json"});
    ASSERT_EQ(rerun.status, 0) << rerun.out << rerun.err;
    EXPECT_THAT(rerun.out, Not(HasSubstr("warning"))) << "nothing is damaged";
    EXPECT_THAT(rerun.out, Not(HasSubstr("wait "))) << "no claim is left";
    EXPECT_EQ(Summary()["results"]["end"]["text"], "SV0,SV1,SV2,SV3,SV4,SV5");
    EXPECT_EQ(Summary()["steps"]["ran"].get<size_t>() + records, 20u);
    if (Summary()["steps"]["ran"] > 0) {
      EXPECT_TRUE(fs::is_empty(store() + "/tmp"));
    }
  }
  EXPECT_GT(killed, rounds / 4) << "a machine that was busier when the whole was timed";
  EXPECT_GT(midway, 0);
}

TEST_F(FaultsTest, ACopyOfTheProgramAloneFindsItsModules) {
  const TempFolder elsewhere;
  fs::copy_file(TOY_PUZZLE, elsewhere / "toy_puzzle");
  const ProgramFolder copy(elsewhere / "toy_puzzle");
  copy.Write("g.json", R"({"puzzle": 1, "nodes": {
    "t": {"kind": "text", "params": {"value": "v"}}}})");
  const Result run = copy.Run({"run", "g.json"});
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("1 run"));
}

TEST_F(FaultsTest, TwoRunsOnOneStoreComputeEachStepOnce) {
  Write("g.json", kSlow);
  for (int round = 0; round < 3; ++round) {
    fs::remove_all(store());
    const pid_t one = toy_.Start({"run", "g.json"}, "1");
    const pid_t two = toy_.Start({"run", "g.json"}, "2");
    const Result first = toy_.Finish(one, "1"), second = toy_.Finish(two, "2");
    EXPECT_EQ(CountOf("start   ", first.out + second.out), 20u) << first.out << second.out;
    EXPECT_EQ(first.status, 0) << first.err;
    EXPECT_EQ(second.status, 0) << second.err;
    EXPECT_THAT(Puzzle({"plan", "g.json"}).out, HasSubstr("20 steps: 20 HIT"));
  }
}

TEST_F(FaultsTest, OfFourRunsSomeAreKilledAndTheOthersTakeOver) {
  Write("g.json", kSlow);
  std::mt19937 random(5);
  const int rounds = Rounds(10);
  for (int round = 0; round < rounds; ++round) {
    fs::remove_all(store());
    std::vector<pid_t> runs;
    for (const char* tag : {"1", "2", "3", "4"}) {
      runs.push_back(toy_.Start({"run", "g.json", "--devices", "cpu,cpu"}, tag));
    }
    for (const int victim : {0, 1}) {
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 15'000));
      ::kill(runs[static_cast<size_t>(victim)], SIGKILL);
    }
    size_t done = 0;
    for (size_t i = 0; i < runs.size(); ++i) {
      const Result run = toy_.Finish(runs[i], std::to_string(i + 1));
      if (i >= 2) {
        EXPECT_EQ(run.status, 0) << run.out << run.err;
      }
      done += CountOf("done    ", run.out);
    }
    // A step is done once, but what a victim published may have found no time to be announced.
    EXPECT_LE(done, 20u);
    EXPECT_THAT(Puzzle({"plan", "g.json"}).out, HasSubstr("20 steps: 20 HIT"));
    EXPECT_EQ(Puzzle({"cache", "verify"}).status, 0);
  }
}

TEST_F(FaultsTest, WhateverIsDamagedInAStoreTheNextRunIsRight) {
  Write("g.json", kSlow);
  ASSERT_EQ(Puzzle({"run", "g.json"}).status, 0);
  std::mt19937 random(7);
  const int rounds = Rounds(30);
  for (int round = 0; round < rounds; ++round) {
    std::vector<std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(store())) {
      if (entry.is_regular_file() && fs::file_size(entry) > 0) files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // a new time stamp
    for (int i = 0; i < 3; ++i) {
      const std::string& path = files[random() % files.size()];
      if (fs::exists(path)) Damage(path, random);
    }
    const Result run = Puzzle({"run", "g.json", "--summary", "summary.json"});
    ASSERT_EQ(run.status, 0) << run.out << run.err;
    EXPECT_EQ(Summary()["results"]["end"]["text"], "SV0,SV1,SV2,SV3,SV4,SV5");
    EXPECT_EQ(Summary()["results"]["all"]["text"], "sv0,sv1,sv2,sv3,sv4,sv5");
  }
}

}  // namespace
}  // namespace puzzle::testing
