// Locks of a store: who claims what, who is alive, and that all of it ends with its process.
#include "graph/store/locks.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <thread>

#include "tests/graph/graph_test_fixture.h"
#include "tests/graph/races.h"

namespace puzzle::testing {
namespace {

using ::testing::IsEmpty;

const std::string kKey(64, 'a');
const std::string kOther = std::string(10, 'b') + std::string(54, 'a');

std::string Me() {
  return "process " + std::to_string(::getpid()) + " on " + HostName();
}

class LocksTest : public ::testing::Test {
 protected:
  std::string path() const { return folder_.path() + "/locks"; }
  TemporaryFolder folder_;
  StoreLocks one_{path()}, two_{path()};
};

TEST_F(LocksTest, AKeyIsClaimedOnceAndTheOthersLearnByWhom) {
  one_.Announce();
  two_.Announce();
  auto mine = one_.TryClaim(kKey);
  ASSERT_TRUE(mine.claim);
  EXPECT_EQ(one_.TryClaim(kKey).holder, "this run");
  const auto refused = two_.TryClaim(kKey);
  EXPECT_FALSE(refused.claim);
  EXPECT_EQ(refused.holder, Me());
  EXPECT_TRUE(two_.IsClaimed(kKey));
  EXPECT_TRUE(two_.TryClaim(kOther).claim);
  mine.claim.reset();
  EXPECT_FALSE(two_.IsClaimed(kKey));
  EXPECT_TRUE(two_.TryClaim(kKey).claim);
  EXPECT_TRUE(one_.TryClaim(kKey).claim);
}

TEST_F(LocksTest, GivingOneClaimBackLeavesTheOthers) {
  one_.Announce();
  two_.Announce();
  auto a = one_.TryClaim(kKey), b = one_.TryClaim(kOther);
  a.claim.reset();
  EXPECT_FALSE(two_.IsClaimed(kKey));
  EXPECT_TRUE(two_.IsClaimed(kOther));
}

TEST_F(LocksTest, ClaimsEndWithTheirProcess) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    StoreLocks locks(path());
    locks.Announce();
    const auto claim = locks.TryClaim(kKey);
    [[maybe_unused]] const auto n = ::write(ready[1], claim.claim ? "y" : "n", 1);
    ::pause();
    ::_exit(0);
  }
  char answer = 0;
  ASSERT_EQ(::read(ready[0], &answer, 1), 1);
  EXPECT_EQ(answer, 'y');
  one_.Announce();
  const std::string name = "process " + std::to_string(child) + " on " + HostName();
  EXPECT_EQ(one_.TryClaim(kKey).holder, name);
  ASSERT_EQ(one_.Others().size(), 1u);
  EXPECT_EQ(one_.Others()[0].Name(), name);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_TRUE(one_.TryClaim(kKey).claim);
  EXPECT_THAT(one_.Others(), IsEmpty());
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_F(LocksTest, LiveRunsAreSeenWithTheTimeThatTheyNeed) {
  EXPECT_THAT(one_.Others(), IsEmpty());  // not even a file
  two_.Announce();
  two_.Announce();
  {
    StoreLocks three(path());
    three.Announce();
    ASSERT_EQ(one_.Others().size(), 2u);
    EXPECT_EQ(one_.Others()[0].needs_since_ns, two_.needed_since_ns());
    EXPECT_EQ(one_.Others()[1].needs_since_ns, three.needed_since_ns());
    EXPECT_EQ(two_.Others().size(), 1u);
  }
  ASSERT_EQ(one_.Others().size(), 1u);
  two_.NeedEverything();
  EXPECT_EQ(one_.Others()[0].needs_since_ns, 0);
  EXPECT_EQ(one_.Others()[0].pid, ::getpid());
}

TEST_F(LocksTest, ARunInThePlaceOfOneThatEndedIsSeenBesideOlderOnes) {
  auto ended = std::make_unique<StoreLocks>(path());
  ended->Announce();
  two_.Announce();
  ended.reset();
  StoreLocks later(path());  // comes first in the file, and last where the system looks
  later.Announce();
  EXPECT_EQ(one_.Others().size(), 2u);
  one_.Announce();
  EXPECT_EQ(one_.Others().size(), 2u);
  EXPECT_EQ(later.Others().size(), 2u);
}

TEST_F(LocksTest, NoRunComesToLifeWhileTheGateIsClosed) {
  one_.Announce();
  std::atomic<bool> alive{false};
  std::thread newcomer;
  {
    const GateGuard closed(one_, GateGuard::Mode::kClosed);
    newcomer = std::thread([&] {
      two_.Announce();
      alive = true;
    });
    while (one_.Others().empty()) std::this_thread::yield();  // it stands before the gate
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_FALSE(alive);
  }
  newcomer.join();
  EXPECT_TRUE(alive);
}

TEST_F(LocksTest, ReadersOfASharedStoreAreSeen) {
  EXPECT_LT(StoreLocks::AnnounceReader(path()).get(), 0);
  EXPECT_FALSE(std::filesystem::exists(path()));
  one_.Announce();
  EXPECT_FALSE(one_.HasReaders());
  {
    const Descriptor a = StoreLocks::AnnounceReader(path()), b = StoreLocks::AnnounceReader(path());
    EXPECT_TRUE(one_.HasReaders());
  }
  EXPECT_FALSE(one_.HasReaders());
}

TEST_F(LocksTest, WhereNothingCanBeOpenedEverybodyGetsTheirClaims) {
  StoreLocks nowhere(folder_.path() + "/no/such/folder/locks");
  nowhere.Announce();
  EXPECT_FALSE(nowhere.announced());
  EXPECT_FALSE(nowhere.unsupported());
  const auto claim = nowhere.TryClaim(kKey);
  EXPECT_TRUE(claim.claim);
  EXPECT_FALSE(nowhere.TryClaim(kKey).claim);  // within one run a key is computed once even so
}

TEST_F(LocksTest, ManyThreadsNeverHoldOneKeyTwice) {
  one_.Announce();
  two_.Announce();
  ExpectOneHolderAtATime(one_, two_, kKey, 2000);
}

}  // namespace
}  // namespace puzzle::testing
