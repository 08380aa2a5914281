// Runs in virtual time against times worked out by hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "bench/simulate/loads.h"
#include "bench/simulate/virtual_run.h"
#include "graph/kind/kind.h"
#include "io/error.h"

namespace puzzle::testing {
namespace {

constexpr double kAny = std::numeric_limits<double>::infinity();

/// A graph of steps that cost what is said.
class VirtualRunTest : public ::testing::Test {
 protected:
  /// A step on a lane (or a host) that takes `inputs` whole.
  StepId Add(double seconds, double result_bytes, const std::vector<StepId>& inputs,
             bool on_lane = true) {
    const auto id = static_cast<StepId>(plan_.steps.size());
    plan_.nodes.push_back({"n" + std::to_string(id), "", on_lane ? &lane_ : &host_, id, 1});
    Step step;
    step.node = id;
    step.inputs = {inputs};
    plan_.steps.push_back(step);
    VirtualStep cost{seconds, {}, result_bytes};
    for (const StepId input : inputs) cost.reads.push_back({input, costs_[input].result_bytes});
    costs_.push_back(cost);
    return id;
  }

  VirtualRun Run(const Plant& plant) {
    plan_.Link();
    Forecast forecast;
    forecast.steps.resize(plan_.steps.size());
    for (StepId id = 0; id < costs_.size(); ++id)
      forecast.steps[id].expected_s = costs_[id].seconds;
    AddUp(plan_, forecast);
    return RunVirtually(plan_, forecast, costs_, plant);
  }

  const NodeKind lane_ =
      Kind<int>("compute", 1, "").InList("in", "x", "").Out("x").On(Needs::kDevice);
  const NodeKind host_ = Kind<int>("look", 1, "").InList("in", "x", "").Out("x");
  Plan plan_;
  std::vector<VirtualStep> costs_;
};

TEST_F(VirtualRunTest, LanesTakeTheLongestPathFirst) {
  const StepId a = Add(2, 0, {});
  const StepId shorter = Add(1, 0, {a}), longer = Add(3, 0, {a}), other = Add(1, 0, {a});
  const StepId last = Add(1, 0, {shorter, longer, other});
  const VirtualRun run = Run({1, 2, kAny, kAny, kAny, 0});
  // a 0-2; longer 2-5 beside shorter 2-3 and other 3-4; last 5-6.
  EXPECT_DOUBLE_EQ(run.spans[longer].taken_s, 2);
  EXPECT_DOUBLE_EQ(run.spans[other].ended_s, 4);
  EXPECT_DOUBLE_EQ(run.spans[last].taken_s, 5);
  EXPECT_DOUBLE_EQ(run.makespan_s, 6);
  EXPECT_DOUBLE_EQ(run.busy_s, 8);
  EXPECT_DOUBLE_EQ(run.IdleShare(2), 4.0 / 12);
}

TEST_F(VirtualRunTest, AMachineReadsOnceWhatItsLanesShare) {
  const StepId a = Add(0, 20, {}, /*on_lane=*/false);
  Add(3, 10, {a});
  Add(3, 10, {a});
  const VirtualRun run = Run({1, 2, kAny, 10, 10, 0});
  // Written 0-2, read 2-4, computed 4-7, written 7-8 and 8-9.
  EXPECT_DOUBLE_EQ(run.spans[a].published_s, 2);
  EXPECT_DOUBLE_EQ(run.spans[1].began_s, 4);
  EXPECT_DOUBLE_EQ(run.spans[2].began_s, 4);
  EXPECT_DOUBLE_EQ(run.makespan_s, 9);
  EXPECT_DOUBLE_EQ(run.waiting_s, 4);
  EXPECT_DOUBLE_EQ(run.read_bytes, 20);
  EXPECT_DOUBLE_EQ(run.written_bytes, 40);
}

TEST_F(VirtualRunTest, MachinesQueueForTheStore) {
  const StepId a = Add(0, 20, {}, /*on_lane=*/false);
  Add(3, 10, {a});
  Add(3, 10, {a});
  const VirtualRun run = Run({2, 1, kAny, 10, 10, 0.5});
  // Written .5-2.5 (half a second around the step); read 2.5-4.5 and 4.5-6.5; computed until 8 and
  // 10; written until 9 and 11.
  EXPECT_DOUBLE_EQ(run.spans[1].began_s, 4.5);
  EXPECT_DOUBLE_EQ(run.spans[2].began_s, 6.5);
  EXPECT_DOUBLE_EQ(run.makespan_s, 11);
  EXPECT_DOUBLE_EQ(run.read_bytes, 40);
}

TEST_F(VirtualRunTest, ALaneGoesOnWithWhatItHasInMemory) {
  const StepId a = Add(0, 20, {}, false), b = Add(0, 20, {}, false);
  const StepId first = Add(1, 0, {a}), second = Add(1, 0, {b}), third = Add(1, 0, {a});
  const Plant one_fits{1, 1, 20, 10, kAny, 0};
  const VirtualRun run = Run(one_fits);
  EXPECT_LT(run.spans[first].taken_s, run.spans[third].taken_s);
  EXPECT_LT(run.spans[third].taken_s, run.spans[second].taken_s) << "the queue knows what is warm";
  EXPECT_DOUBLE_EQ(run.read_bytes, 40);
}

TEST_F(VirtualRunTest, WhatDoesNotFitTheMemoryIsReadAgain) {
  const StepId a = Add(0, 20, {}, false), b = Add(0, 20, {}, false);
  const StepId first = Add(1, 1, {a}), second = Add(1, 1, {first, b});
  Add(1, 1, {second, a});
  EXPECT_DOUBLE_EQ(Run({1, 1, 21, kAny, kAny, 0}).read_bytes, 20 + 20 + 1 + 20 + 1);
  EXPECT_DOUBLE_EQ(Run({1, 1, 42, kAny, kAny, 0}).read_bytes, 20 + 20 + 1 + 1);
}

TEST_F(VirtualRunTest, RandomGraphsKeepTheRules) {
  std::mt19937 random(3);
  for (int round = 0; round < 20; ++round) {
    plan_ = {};
    costs_.clear();
    for (StepId id = 0; id < 60; ++id) {
      std::vector<StepId> inputs;
      for (unsigned k = random() % 3; id > 0 && k > 0; --k) inputs.push_back(random() % id);
      std::sort(inputs.begin(), inputs.end());
      inputs.erase(std::unique(inputs.begin(), inputs.end()), inputs.end());
      Add(random() % 5, random() % 7, inputs, random() % 4 != 0);
    }
    const Plant plant{1 + random() % 3, 1 + random() % 3, 10, 4, 6, 0.25};
    const VirtualRun run = Run(plant);
    const VirtualRun again = Run(plant);
    EXPECT_EQ(run.makespan_s, again.makespan_s);
    double busy_s = 0;
    for (StepId id = 0; id < plan_.steps.size(); ++id) {
      const VirtualRun::Span& span = run.spans[id];
      EXPECT_EQ(span.published_s, again.spans[id].published_s);
      for (const StepId input : plan_.predecessors(id)) {
        EXPECT_GE(span.taken_s, run.spans[input].published_s);
      }
      EXPECT_DOUBLE_EQ(span.ended_s, span.began_s + costs_[id].seconds + 0.25);
      if (!span.on_lane) continue;
      busy_s += span.ended_s - span.began_s;
      size_t at_once = 0;  // lanes at work in the middle of this step
      const double middle_s = (span.taken_s + span.ended_s) / 2;
      for (const VirtualRun::Span& other : run.spans) {
        at_once += other.on_lane && other.taken_s < middle_s && middle_s < other.ended_s ? 1 : 0;
      }
      EXPECT_LE(at_once, plant.machines * plant.lanes);
    }
    EXPECT_NEAR(run.busy_s, busy_s, 1e-9);
  }
}

// ---------------------------------------------------------------------------------------------
// What steps cost

class LoadsTest : public VirtualRunTest {
 protected:
  /// Works of the steps, known and else empty.
  std::vector<Workload> Works() {
    plan_.Link();
    std::vector<Workload> works(plan_.steps.size());
    for (Workload& work : works) work.is_known = true;
    return works;
  }
};

TEST_F(LoadsTest, SecondsAreProductsAtTheirRatesAndWhatDoesNotScale) {
  Add(0, 0, {});
  std::vector<Workload> works = Works();
  works[0].flops = 100;
  works[0].bf16_flops = 300;
  works[0].host_s = 7;
  works[0].disk_bytes = 9;
  const VirtualStep alone = LoadsOf(plan_, works, {10, 100}).steps[0];
  EXPECT_DOUBLE_EQ(alone.seconds, 10 + 3 + 7);
  EXPECT_DOUBLE_EQ(alone.result_bytes, 9);
  EXPECT_DOUBLE_EQ(LoadsOf(plan_, works, {10, 100, 2}).steps[0].seconds, 5 + 1.5 + 7)
      << "alone on two lanes' cores";
  EXPECT_DOUBLE_EQ(LoadsOf(plan_, works, {10, 100}, {{"n0", 4}}).steps[0].seconds, 5);
}

TEST_F(LoadsTest, WhatDoesNotFitADeviceStreams) {
  Add(0, 0, {});
  std::vector<Workload> works = Works();
  works[0].flops = 100;
  works[0].shared_bytes = 50;
  works[0].memory_bytes = 20;
  const PlanLoads fits = LoadsOf(plan_, works, {10, 10, 1, 70, 1});
  EXPECT_DOUBLE_EQ(fits.steps[0].seconds, 10);
  EXPECT_TRUE(fits.needs_bytes.empty());
  const PlanLoads streams = LoadsOf(plan_, works, {10, 10, 1, 69, 1});
  EXPECT_DOUBLE_EQ(streams.steps[0].seconds, 50) << "its inputs, at a byte a second";
  EXPECT_THAT(streams.needs_bytes, ::testing::ElementsAre(::testing::Pair("n0", 70)));
}

TEST_F(LoadsTest, NodesOfUnknownLengthAreNamed) {
  Add(0, 0, {});
  Add(0, 0, {0});
  std::vector<Workload> works = Works();
  works[1].is_known = false;
  try {
    (void)LoadsOf(plan_, works, {1, 1});
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "nobody knows how much work these nodes are: n1; leave them out");
  }
}

TEST_F(LoadsTest, RatesAreTheLowerSideOfTheRoof) {
  ModelConfig model;
  model.vocab_size = 100;
  model.hidden_size = 64;
  model.n_heads = 4;
  model.head_dim = 16;
  model.max_positions = 128;
  model.blocks.assign(2, {{SubBlockForm::kFull, 4}, {SubBlockForm::kFull, 128}});
  DeviceModel device{"toy", {{"fp32", 2}, {"bf16", 8}}, 1e9, 0};
  const LaneRates arithmetic = RatesOf(device, model, 8, 128, 0.5);
  EXPECT_NEAR(arithmetic.flops, 1e12, 1);
  EXPECT_NEAR(arithmetic.bf16_flops, 4e12, 1);
  device.bandwidth_gb_per_s = 1e-3;
  ServingScenario pass{8, 128, 0, "bf16", "bf16", "bf16"};
  const ServingCosts costs = CountModel(model, pass);
  EXPECT_NEAR(RatesOf(device, model, 8, 128, 0.5).bf16_flops,
              0.5 * costs.prefill_flops / costs.prefill_bytes * 1e6, 1);
}

}  // namespace
}  // namespace puzzle::testing
