// A newcomer's first hour: init, plan and run, nothing edited in between.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/apps/program_folder.h"

namespace puzzle::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(StarterTest, AStarterGraphRunsUnchangedToItsReport) {
  PUZZLE_REQUIRE_DATA("models/stories260K");
  const ProgramFolder folder(PUZZLE_PROGRAM);
  const ProgramResult init =
      folder.Run({"init", DataPath("models/stories260K"), "--text",
                  DataPath("text/tinystories_v1_slice.txt"), "--preset", "smoke"});
  ASSERT_EQ(init.status, 0) << init.err;
  EXPECT_THAT(init.out, HasSubstr("puzzle run stories260K.json"));
  const ProgramResult plan = folder.Run({"plan", "stories260K.json", "--json"});
  ASSERT_EQ(plan.status, 0) << plan.err;
  EXPECT_EQ(nlohmann::json::parse(plan.out)["unknown"], nlohmann::json::array());
  const ProgramResult run =
      folder.Run({"run", "stories260K.json", "-q", "--summary", "summary.json"});
  ASSERT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("75%, distilled"));
  EXPECT_THAT(run.out, HasSubstr("75% uniform"));
  const nlohmann::json summary = folder.ReadJson("summary.json");
  EXPECT_EQ(summary["steps"]["failed"], 0);
  // The child is a checkpoint like its parent, and within the budget.
  const std::string child = "out/stories260K/75%";
  const auto memory = [&](const std::string& model) {
    const ProgramResult analysis = folder.Run({"analyze", model, "--json"});
    EXPECT_EQ(analysis.status, 0) << analysis.err;
    return nlohmann::json::parse(analysis.out)["memory"]["memory_mib"].get<double>();
  };
  EXPECT_LE(memory(child), 0.75 * memory(DataPath("models/stories260K")));
  const ProgramResult again = folder.Run({"run", "stories260K.json"});
  EXPECT_THAT(again.out, HasSubstr(" 0 run; "));
}

}  // namespace
}  // namespace puzzle::testing
