// The order in which lanes take work.
#include "graph/run/ready_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace puzzle {
namespace {

using ::testing::ElementsAre;

class ReadyQueueTest : public ::testing::Test {
 protected:
  LaneWork& Work(uint64_t order, double remaining_s, std::vector<uint64_t> inputs = {}) {
    LaneWork& work = works_.emplace_back();
    work.order = order;
    work.remaining_s = remaining_s;
    work.inputs = std::move(inputs);
    return work;
  }
  /// Hands the works over and takes them out again, as one lane would that has room for all.
  std::vector<uint64_t> Order(const std::string& device_type = "cpu") {
    Fill();
    std::vector<uint64_t> order, warm;
    while (auto work = queue_.Take(device_type, warm, [](const LaneWork&) { return true; })) {
      order.push_back(work->order);
      warm = work->inputs;
    }
    return order;
  }
  void Fill() {
    for (LaneWork& work : works_) queue_.Push(std::move(work));
    works_.clear();
  }

  std::vector<LaneWork> works_;
  ReadyQueue queue_;
};

TEST_F(ReadyQueueTest, TheLongestRemainingPathComesFirstThenTheOrderOfThePlan) {
  Work(1, 1);
  Work(2, 50);
  Work(3, 1);
  Work(4, 0);
  Work(0, 1);
  EXPECT_THAT(Order(), ElementsAre(2, 0, 1, 3, 4));
  EXPECT_TRUE(queue_.empty());
}

TEST_F(ReadyQueueTest, NeighboursFollowEachOtherAlthoughTheirSecondsDifferALittle) {
  // Everything reads 100; two at a time share 1, 2 or 3.
  Work(1, 10.0, {100, 1});
  Work(2, 10.3, {100, 2});
  Work(3, 10.2, {100, 3});
  Work(4, 10.5, {100, 1});
  Work(5, 10.1, {100, 2});
  Work(6, 10.4, {100, 3});
  EXPECT_THAT(Order(), ElementsAre(1, 4, 2, 5, 3, 6));
}

TEST_F(ReadyQueueTest, UrgencyIsAboveNeighbourhood) {
  Work(1, 10, {1});
  Work(2, 20, {2});
  Work(3, 10, {2});
  Work(4, 10, {1});
  EXPECT_THAT(Order(), ElementsAre(2, 3, 1, 4));
}

TEST_F(ReadyQueueTest, TheRarestSharedInputDecides) {
  Work(1, 1, {7, 8});
  Work(2, 1, {7});
  Work(3, 1, {7});
  Work(4, 1, {8});
  EXPECT_THAT(Order(), ElementsAre(1, 4, 2, 3));
}

TEST_F(ReadyQueueTest, OfEquallyUrgentWorksTheOneForTheLanesOwnDeviceComesFirst) {
  Work(1, 5);
  Work(2, 5).device_type = "cpu";
  Work(3, 6);
  EXPECT_THAT(Order(), ElementsAre(3, 2, 1));
}

TEST_F(ReadyQueueTest, LanesTakeOnlyWhatTheirDeviceCanRun) {
  Work(1, 9).device_type = "cuda";
  Work(2, 5);
  Work(3, 1).device_type = "cpu";
  EXPECT_THAT(Order("cpu"), ElementsAre(2, 3));
  EXPECT_EQ(queue_.size(), 1u);
  EXPECT_THAT(Order("cuda"), ElementsAre(1));
}

TEST_F(ReadyQueueTest, WhatDoesNotFitIsOvertakenAFewTimesButNotForEver) {
  Work(0, 10).memory_bytes = 100;
  for (uint64_t i = 1; i < 100; ++i) Work(i, 1);
  Fill();
  const auto small = [](const LaneWork& work) { return work.memory_bytes < 50; };
  int overtook = 0;
  while (queue_.Take("cpu", {}, small)) ++overtook;
  EXPECT_GT(overtook, 0);
  EXPECT_LT(overtook, 50);
  const auto big = queue_.Take("cpu", {}, [](const LaneWork&) { return true; });
  ASSERT_TRUE(big.has_value());
  EXPECT_EQ(big->order, 0u);
  EXPECT_TRUE(queue_.Take("cpu", {}, small).has_value());
}

TEST_F(ReadyQueueTest, NothingOvertakesWorkThatMustBeAlone) {
  Work(1, 100);
  Work(2, 1).alone = true;
  Fill();
  EXPECT_FALSE(queue_.Take("cpu", {}, [](const LaneWork& work) { return !work.alone; }));
  EXPECT_THAT(Order(), ElementsAre(2, 1));
}

TEST_F(ReadyQueueTest, WorkCanBeTakenOutByWhatItIs) {
  Work(1, 1).device_type = "cuda";
  Work(2, 2).device_type = "cuda";
  Work(3, 3);
  Fill();
  const auto out = queue_.TakeOut([](const LaneWork& work) { return work.device_type == "cuda"; });
  EXPECT_EQ(out.size(), 2u);
  EXPECT_EQ(queue_.size(), 1u);
  EXPECT_EQ(queue_.TakeOut([](const LaneWork&) { return true; }).size(), 1u);
  EXPECT_TRUE(queue_.empty());
}

TEST_F(ReadyQueueTest, AHundredThousandNeighboursCostLittle) {
  for (uint64_t i = 0; i < 100'000; ++i) Work(i, 1, {i % 1000, 5000});
  const std::vector<uint64_t> order = Order();
  ASSERT_EQ(order.size(), 100'000u);
  size_t changes = 0;
  for (size_t i = 1; i < order.size(); ++i) changes += order[i] % 1000 != order[i - 1] % 1000;
  EXPECT_EQ(changes, 999u);
}

}  // namespace
}  // namespace puzzle
