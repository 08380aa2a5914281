// Estimates before anything ran: sizes, corrected by what steps of the kind took.
#include "graph/plan/workload.h"

#include <nlohmann/json.hpp>

#include "graph/view/draw.h"
#include "tests/graph/graph_test_fixture.h"

namespace puzzle::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A `text` of n letters gives facts: its length. `sleep` takes an operation per millisecond that it
// says; `measure` and the others are not known.
Workload ToyWork(const NodeKind& kind, const void* params, const PortWorkloads& inputs) {
  Workload work;
  if (kind.name == "text") {
    auto any = kind.params.front().member(const_cast<void*>(params));
    work.is_known = true;
    work.host_s = 2;
    work.disk_bytes = 1000;
    work.facts =
        std::make_shared<const double>(static_cast<double>(std::get<std::string*>(any)->size()));
  } else if (kind.name == "upper" && inputs[0][0]->is_known) {
    work.is_known = true;
    work.flops = 100 * *static_cast<const double*>(inputs[0][0]->facts.get());
    work.disk_bytes = 5e6;
    work.memory_bytes = 1e9;
    work.shared_bytes = 2e9;
  }
  return work;
}

class WorkloadTest : public GraphTest {
 protected:
  // What a run on two lanes needs; ten operations a second on two cores.
  Outlook Look() {
    Plan();
    ReopenStore();
    forecast_ = MarkStale(*plan_, *store_);
    const auto speed = [this] {
      ++measured_;
      return MachineSpeed{10, 20};
    };
    return Foresee(*plan_, ToyWork, speed, 2, *store_, forecast_);
  }

  int measured_ = 0;
};

TEST_F(WorkloadTest, SizesMakeTheEstimate) {
  Load(R"({"puzzle": 1, "nodes": {
    "t": {"kind": "text", "params": {"value": "abc"}},
    "u": {"kind": "upper", "in": {"in": "t"}}}})");
  const Outlook outlook = Look();
  EXPECT_DOUBLE_EQ(forecast_.steps[1].expected_s, 30) << "with all cores";
  EXPECT_DOUBLE_EQ(forecast_.Estimate(2), 32) << "one after the other";
  EXPECT_EQ(measured_, 1);
  EXPECT_TRUE(outlook.is_predicted);
  EXPECT_DOUBLE_EQ(outlook.disk_bytes, 5'001'000);
  EXPECT_DOUBLE_EQ(outlook.memory_bytes, 3.3e9) << "with the program's own";
  EXPECT_THAT(outlook.unknown, IsEmpty());
  EXPECT_THAT(
      ForecastText(*plan_, forecast_, false, 2, {}, outlook),
      ::testing::EndsWith("about 32s on 2 lanes; 4.8 MiB of disk, at most 3.1 GiB of memory\n"));
  const auto json = nlohmann::json::parse(ForecastJson(*plan_, forecast_, 2, {}, outlook));
  EXPECT_EQ(json["disk_bytes"], 5'001'000);
  EXPECT_EQ(json["expected_s"], 32);
}

TEST_F(WorkloadTest, StepsOfANodeShareTheCores) {
  Load(R"({"puzzle": 1, "nodes": {
    "t": {"kind": "text", "params": {"value": "abc"}},
    "u": {"kind": "upper", "foreach": {"i": [1, 2, 3, 4]}, "in": {"in": "t"}}}})");
  const Outlook outlook = Look();
  EXPECT_DOUBLE_EQ(forecast_.steps[1].expected_s, 60) << "half of the cores";
  EXPECT_DOUBLE_EQ(forecast_.Estimate(2), (2 + 4 * 60) / 2.0);
  EXPECT_DOUBLE_EQ(outlook.memory_bytes, 0.3e9 + 2e9 + 2 * 1e9);
}

TEST_F(WorkloadTest, AKindThatRanSaysHowFastItIsHere) {
  Load(R"({"puzzle": 1, "nodes": {
    "t": {"kind": "text", "params": {"value": "abc"}},
    "u": {"kind": "upper", "in": {"in": "t"}}}})");
  Run();
  Load(R"({"puzzle": 1, "nodes": {
    "t": {"kind": "text", "params": {"value": "abc"}},
    "u": {"kind": "upper", "in": {"in": "t"}},
    "long": {"kind": "text", "params": {"value": "abcabcabc"}},
    "v": {"kind": "upper", "in": {"in": "long"}}}})");
  (void)Look();
  const StepForecast& u = forecast_.steps[Find("u")];
  const StepForecast& v = forecast_.steps[Find("v")];
  EXPECT_EQ(u.fate, Fate::kHit);
  EXPECT_NEAR(v.expected_s, 3 * u.record.wall_s, 1e-9 + 1e-6 * u.record.wall_s);
}

TEST_F(WorkloadTest, WhatIsNotKnownIsNamedAndOwnPastsStay) {
  Load(R"({"puzzle": 1, "nodes": {
    "m": {"kind": "measure", "params": {"value": "x"}},
    "s": {"kind": "sleep", "params": {"ms": 1, "value": "y"}}}})");
  const Outlook outlook = Look();
  EXPECT_THAT(outlook.unknown, ElementsAre("m", "s"));
  EXPECT_FALSE(outlook.is_predicted);
  EXPECT_EQ(measured_, 0) << "nothing to predict";
  EXPECT_THAT(OutlookText(outlook), ::testing::EndsWith("; of unknown length: m, s"));
  Run();
  Set("s.value=z");
  EXPECT_THAT(Look().unknown, IsEmpty()) << "it ran, with another value";
}

}  // namespace
}  // namespace puzzle::testing
