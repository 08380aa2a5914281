// A newcomer's first hour: init, plan and run, nothing edited in between.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/apps/program_folder.h"
#include "tests/graph/xml_check.h"

namespace puzzle::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// A browser draws every chart, complains of nothing and asks nobody for anything.
void ShowInChromium(const std::string& page) {
  const ProgramFolder browser("/usr/bin/chromium");
  const std::string profile = "--user-data-dir=" + browser.path();
  const ProgramResult shown =
      browser.Run({"--headless", "--no-sandbox", "--disable-gpu", profile,
                   "--enable-logging=stderr", "--window-size=1200,3000",
                   "--screenshot=" + browser.path() + "/page.png", "--dump-dom", "file://" + page});
  ASSERT_EQ(shown.status, 0) << shown.err;
  EXPECT_THAT(shown.err, Not(HasSubstr("CONSOLE")));
  EXPECT_THAT(shown.out, Not(HasSubstr("<script")));
  EXPECT_GE(CountOf("<svg", shown.out), 7u);
  EXPECT_GT(std::filesystem::file_size(browser.path() + "/page.png"), 50'000u);
}

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
  // What came out, as a page.
  const ProgramResult report = folder.Run({"report", "stories260K.json"});
  ASSERT_EQ(report.status, 0) << report.err;
  const std::string page = folder.Read("stories260K.html");
  EXPECT_EQ(XmlMistake(page), "");
  EXPECT_THAT(page, Not(HasSubstr("have no result yet")));
  for (const char* section : {"models", "frontier", "layers", "cost", "training", "samples", "time",
                              "graph", "configuration"})
    EXPECT_THAT(page, HasSubstr("<section id=\"" + std::string(section) + "\">"));
  EXPECT_THAT(page, HasSubstr("Distillation of whole children: loss"));
  EXPECT_THAT(page, HasSubstr("Block by block: loss while they learn"));
  if (std::system("command -v chromium > /dev/null") != 0) return;
  ShowInChromium(folder.path() + "/stories260K.html");
}

}  // namespace
}  // namespace puzzle::testing
