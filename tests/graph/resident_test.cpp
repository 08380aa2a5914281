// Values kept in memory.
#include "graph/run/resident.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "io/error.h"

namespace puzzle {
namespace {

std::function<SizedValue()> Make(int value, size_t bytes, std::atomic<int>& made) {
  return [=, &made] {
    ++made;
    return SizedValue{std::make_shared<const int>(value), bytes};
  };
}

int Value(const std::shared_ptr<const void>& value) {
  return *static_cast<const int*>(value.get());
}

TEST(ResidentTest, AValueIsMadeOnce) {
  ResidentCache cache(100);
  std::atomic<int> made{0};
  EXPECT_EQ(Value(cache.Get("a", Make(1, 10, made))), 1);
  EXPECT_EQ(Value(cache.Get("a", Make(2, 10, made))), 1);
  EXPECT_EQ(made, 1);
  EXPECT_EQ(cache.bytes(), 10u);
}

TEST(ResidentTest, TheLeastRecentlyUsedGoesFirst) {
  ResidentCache cache(30);
  std::atomic<int> made{0};
  for (const char* key : {"a", "b", "c"}) static_cast<void>(cache.Get(key, Make(1, 10, made)));
  static_cast<void>(cache.Get("a", Make(1, 10, made)));
  static_cast<void>(cache.Get("d", Make(1, 10, made)));  // drops b
  EXPECT_EQ(made, 4);
  static_cast<void>(cache.Get("a", Make(1, 10, made)));
  static_cast<void>(cache.Get("c", Make(1, 10, made)));
  EXPECT_EQ(made, 4);
  static_cast<void>(cache.Get("b", Make(1, 10, made)));
  EXPECT_EQ(made, 5);
  EXPECT_LE(cache.bytes(), 30u);
}

TEST(ResidentTest, AValueAboveTheBudgetIsReturnedButNotKept) {
  ResidentCache cache(30);
  std::atomic<int> made{0};
  static_cast<void>(cache.Get("small", Make(1, 10, made)));
  EXPECT_EQ(Value(cache.Get("big", Make(7, 31, made))), 7);
  EXPECT_EQ(cache.bytes(), 10u);  // and drops nothing
  static_cast<void>(cache.Get("big", Make(7, 31, made)));
  EXPECT_EQ(made, 3);
}

TEST(ResidentTest, TheNumberOfValuesIsBounded) {
  ResidentCache cache(1000000);
  std::atomic<int> made{0};
  for (size_t i = 0; i < 2 * ResidentCache::kMaxValues; ++i) {
    static_cast<void>(cache.Get(std::to_string(i), Make(1, 1, made)));
  }
  EXPECT_EQ(cache.bytes(), ResidentCache::kMaxValues);
}

TEST(ResidentTest, OthersWaitForTheFirstMaker) {
  ResidentCache cache(100);
  std::atomic<int> made{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      const auto value = cache.Get("a", [&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        ++made;
        return SizedValue{std::make_shared<const int>(5), 10};
      });
      EXPECT_EQ(Value(value), 5);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(made, 1);
}

TEST(ResidentTest, AfterAFailureTheNextOneTries) {
  ResidentCache cache(100);
  std::atomic<int> failures{0}, made{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&] {
      try {
        static_cast<void>(cache.Get("a", [&]() -> SizedValue {
          std::this_thread::sleep_for(std::chrono::milliseconds(5));
          if (made.fetch_add(1) == 0) throw Error("the first one fails");
          return {std::make_shared<const int>(5), 10};
        }));
      } catch (const Error&) {
        ++failures;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures, 1);
  EXPECT_EQ(made, 2);
}

TEST(ResidentTest, ValuesMakeRoomForStepsAndComeBack) {
  ResidentCache cache(40, 100);
  std::atomic<int> made{0};
  const auto get = [&](const char* key) { return cache.Get(key, Make(1, 20, made)); };
  static_cast<void>(get("a"));
  static_cast<void>(get("b"));
  {
    const YieldedMemory small(cache, 60);
    EXPECT_FALSE(small.has_dropped()) << "there is room for both beside it";
    EXPECT_EQ(cache.bytes(), 40u);
    const YieldedMemory large(cache, 15);
    EXPECT_TRUE(large.has_dropped());
    EXPECT_EQ(cache.bytes(), 20u);
    static_cast<void>(get("b"));  // used last
    EXPECT_EQ(made, 2);
    static_cast<void>(get("a"));  // in the place of b
    EXPECT_EQ(cache.bytes(), 20u);
    const YieldedMemory more_than_all(cache, 1000);
    EXPECT_EQ(cache.bytes(), 0u);
    static_cast<void>(get("a"));  // made, not kept
    EXPECT_EQ(cache.bytes(), 0u);
  }
  static_cast<void>(get("a"));
  static_cast<void>(get("b"));
  EXPECT_EQ(cache.bytes(), 40u);
}

TEST(ResidentTest, UsersKeepWhatTheyHold) {
  ResidentCache cache(10);
  std::atomic<int> made{0};
  const auto held = cache.Get("a", Make(1, 10, made));
  static_cast<void>(cache.Get("b", Make(2, 10, made)));
  EXPECT_EQ(Value(held), 1);
}

TEST(ResidentTest, WhatSomebodyHoldsIsNotMadeAgain) {
  ResidentCache cache(10);
  std::atomic<int> made{0};
  const auto get = [&](const char* key, size_t bytes) {
    return cache.Get(key, Make(1, bytes, made));
  };
  auto held = get("a", 10), large = get("too large", 11);
  static_cast<void>(get("b", 10));  // drops a
  EXPECT_EQ(get("too large", 11), large);
  EXPECT_EQ(get("a", 10), held);
  EXPECT_EQ(made, 3);
  EXPECT_EQ(cache.bytes(), 10u) << "a, in the place of b";
  held.reset();
  large.reset();
  static_cast<void>(get("too large", 11));
  static_cast<void>(get("b", 10));
  static_cast<void>(get("a", 10));
  EXPECT_EQ(made, 6);
}

TEST(ResidentTest, ManyThreadsShareASmallBudget) {
  ResidentCache cache(50);
  std::vector<std::thread> threads;
  std::atomic<int> made{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 300; ++i) {
        const int key = (i * (t + 3)) % 12;
        EXPECT_EQ(Value(cache.Get(std::to_string(key), Make(key, 10, made))), key);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(cache.bytes(), 50u);
}

}  // namespace
}  // namespace puzzle
