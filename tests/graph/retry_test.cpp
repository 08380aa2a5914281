// "retries" and "timeout" of nodes.
#include <atomic>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "tests/graph/graph_test_fixture.h"

namespace puzzle::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsSupersetOf;

class RetryTest : public GraphTest {
 protected:
  /// Bodies of `text` and `sleep` throw that many times.
  void FailTimes(int times) {
    playground_.on_start = [this, times](const std::string&) {
      if (++started_ <= times) throw Error("the network is down");
    };
  }
  std::atomic<int> started_{0};
};

TEST_F(RetryTest, AStepThatSucceedsInTheEndIsASuccess) {
  FailTimes(2);
  Load(R"({"puzzle": 1, "nodes": {"a": {"kind": "text", "retries": 2, "params": {"value": "x"}},
                                  "b": {"kind": "upper", "in": {"in": "a"}}}})");
  Run();
  EXPECT_EQ(ran(), Steps("a", "b"));
  EXPECT_EQ(report().ExitCode(), 0);
  EXPECT_THAT(observer_.lines,
              IsSupersetOf({"again a: attempt 2 of 3", "again a: attempt 3 of 3"}));
  EXPECT_EQ(RecordJson(report().steps[0].record)["warnings"][1],
            "attempt 2 of 3: the network is down");
  EXPECT_TRUE(std::filesystem::is_empty(folder() + "/store/tmp"));
}

TEST_F(RetryTest, AfterTheLastAttemptTheStepFails) {
  FailTimes(3);
  Load(R"({"puzzle": 1, "nodes": {"a": {"kind": "text", "retries": 1}}})");
  Run();
  EXPECT_EQ(failed(), Steps("a"));
  EXPECT_EQ(started_, 2);
  EXPECT_EQ(report().steps[0].message, "the network is down");
}

TEST_F(RetryTest, AnAttemptThatWroteHalfLeavesNothingToTheNext) {
  Load(R"({"puzzle": 1, "nodes": {"s": {"kind": "stream", "retries": 1,
                                        "params": {"rows": 5, "fail": true}}}})");
  Run();
  EXPECT_EQ(failed(), Steps("s"));
  EXPECT_EQ(report().steps[0].message, "failed half way");
  EXPECT_TRUE(std::filesystem::is_empty(folder() + "/store/tmp"));
}

TEST_F(RetryTest, AStepThatTakesTooLongIsStoppedAtItsNextPollAndFails) {
  Load(R"({"puzzle": 1, "nodes": {
    "s": {"kind": "sleep", "timeout": 0.05, "params": {"ms": 60000}},
    "t": {"kind": "upper", "in": {"in": "s"}}}})");
  Run();
  EXPECT_EQ(failed(), Steps("s"));
  EXPECT_EQ(skipped(), Steps("t"));
  EXPECT_THAT(report().steps[0].message, HasSubstr("the node's timeout is 0.05s"));
  EXPECT_EQ(report().ExitCode(), 1);
}

TEST_F(RetryTest, EveryAttemptHasTheWholeTime) {
  FailTimes(1);
  Load(R"({"puzzle": 1, "nodes": {"s": {"kind": "sleep", "timeout": 60, "retries": 1,
                                        "params": {"ms": 1, "value": "x"}}}})");
  Run();
  EXPECT_EQ(ran(), Steps("s"));
}

TEST_F(RetryTest, NeitherEntersTheKey) {
  Load(R"({"puzzle": 1, "nodes": {"a": {"kind": "text"}}})");
  Run();
  Load(R"({"puzzle": 1, "vars": {"hour": 3600}, "nodes": {
    "a": {"kind": "text", "retries": 3, "timeout": "${hour}"}}})");
  Run();
  EXPECT_EQ(cached(), Steps("a"));
}

TEST_F(RetryTest, OtherValuesAreRefused) {
  Load(R"({"puzzle": 1, "vars": {"s": "soon"}, "nodes": {
    "a": {"kind": "text", "retries": -1, "timeout": 0},
    "b": {"kind": "text", "retries": 1.5, "timeout": "${s}"},
    "c": {"kind": "text", "retries": 101, "timeout": "${nix}"}}})");
  const std::string problems = Problems();
  EXPECT_THAT(problems, HasSubstr("/nodes/a/retries: expected an integer from 0 to 100, got -1"));
  EXPECT_THAT(problems, HasSubstr("/nodes/a/timeout: expected a number of seconds above 0, got 0"));
  EXPECT_THAT(problems, HasSubstr("/nodes/b/retries: expected an integer from 0 to 100, got 1.5"));
  EXPECT_THAT(problems, HasSubstr("/nodes/b/timeout: expected a number of seconds above 0, got "
                                  "\"soon\""));
  EXPECT_THAT(problems, HasSubstr("/nodes/c/retries: expected"));
  EXPECT_THAT(problems, HasSubstr("/nodes/c/timeout: \"${nix}\" is not known here"));
}

}  // namespace
}  // namespace puzzle::testing
