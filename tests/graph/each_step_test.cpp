// A pass over all steps, inputs first.
#include "graph/plan/each_step.h"

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <stdexcept>
#include <vector>

namespace puzzle {
namespace {

/// `levels` times `width` steps, each with up to three inputs among those before its level.
Plan RandomPlan(uint32_t levels, uint32_t width) {
  std::mt19937 random(1);
  Plan plan;
  for (StepId id = 0; id < levels * width; ++id) {
    Step& step = plan.steps.emplace_back();
    const StepId before = id / width * width;
    std::vector<StepId>& inputs = step.inputs.emplace_back();
    for (size_t i = random() % 4; before > 0 && i > 0; --i) inputs.push_back(random() % before);
  }
  EXPECT_TRUE(plan.Link().empty());
  return plan;
}

TEST(EachStepTest, EveryStepIsVisitedOnceAfterItsInputs) {
  for (const uint32_t width : {1u, 10u, 3000u}) {
    const Plan plan = RandomPlan(5, width);
    std::vector<std::atomic<int>> visits(plan.steps.size());
    std::atomic<int> early{0};
    ForEachStep(plan, [&](StepId id) {
      for (const StepId input : plan.predecessors(id)) early += visits[input] == 0;
      ++visits[id];
    });
    EXPECT_EQ(early, 0);
    for (const std::atomic<int>& count : visits) ASSERT_EQ(count, 1);
  }
}

TEST(EachStepTest, APlanWithoutStepsIsNoPass) {
  ForEachStep(RandomPlan(0, 0), [](StepId) { FAIL(); });
}

TEST(EachStepTest, WhatACallThrowsOnAnyThreadIsThrown) {
  const Plan plan = RandomPlan(2, 3000);
  for (StepId bad = 0; bad < plan.steps.size(); bad += 700) {
    const auto visit = [&](StepId id) {
      if (id == bad) throw std::runtime_error("bad");
    };
    EXPECT_THROW(ForEachStep(plan, visit), std::runtime_error);
  }
}

}  // namespace
}  // namespace puzzle
