// What must hold of claims, however they are kept: by locks or by leases.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "graph/plan/plan.h"
#include "graph/run/report.h"
#include "graph/store/locks.h"

namespace puzzle::testing {

/// Twenty chains that meet.
inline constexpr char kTwentyChains[] =
    R"({"puzzle": 1, "vars": {"n": {"range": [0, 20]}}, "nodes": {
    "t": {"kind": "text", "foreach": {"i": "${n}"}, "params": {"value": "v${i}"}},
    "s": {"kind": "sleep", "foreach": {"i": "${n}"}, "in": {"in": "t[i=${i}]"},
          "params": {"value": "s"}},
    "all": {"kind": "concat", "in": {"parts": ["s"]}}}})";

/// Four runs of a plan at once, each by a call of `run`, compute every step once.
inline void ExpectFourRunsComputeEachStepOnce(const Plan& plan,
                                              const std::function<Report()>& run) {
  std::vector<std::thread> runs;
  std::vector<Report> reports(4);
  for (Report& report : reports) runs.emplace_back([&] { report = run(); });
  for (std::thread& thread : runs) thread.join();
  for (StepId id = 0; id < plan.steps.size(); ++id) {
    int computed = 0;
    for (const Report& report : reports) {
      computed += report.steps[id].outcome == Outcome::kOk ? 1 : 0;
      EXPECT_TRUE(report.steps[id].outcome == Outcome::kOk ||
                  report.steps[id].outcome == Outcome::kCached);
    }
    EXPECT_EQ(computed, 1) << plan.steps[id].name;
  }
}

/// Two threads of each run claim one key, so many times: nobody holds it beside another.
inline void ExpectOneHolderAtATime(StoreLocks& one, StoreLocks& two, const std::string& key,
                                   int times) {
  std::atomic<int> holders{0}, taken{0}, wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < times; ++i) {
        const auto attempt = (t % 2 == 0 ? one : two).TryClaim(key);
        if (!attempt.claim) continue;
        if (++holders != 1) ++wrong;
        ++taken;
        --holders;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(taken, 0);
}

}  // namespace puzzle::testing
