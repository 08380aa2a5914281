// `puzzle graph --format makeflow`, run by the real Makeflow where that is installed.
#include <unistd.h>

#include <filesystem>

#include "tests/apps/cli_test_fixture.h"

namespace puzzle::testing {
namespace {

using ::testing::HasSubstr;

class MakeflowTest : public CliTest {
 protected:
  /// Runs Makeflow on the file in the folder "engine", which is not where the graph lies. Its exit
  /// status is not asked: Debian's 9.9 says 0 whatever happened.
  [[nodiscard]] std::string Makeflow(const std::string& arguments) const {
    const std::string command = "cd '" + path() + "/engine' && exec makeflow --json " + arguments;
    const ProgramFolder shell("/bin/sh");
    const Result result = shell.Run({"-c", command});
    return result.text();
  }
  [[nodiscard]] static bool Installed() {
    const ProgramFolder shell("/bin/sh");
    return shell.Run({"-c", "makeflow --version"}).status == 0;
  }
};

/// Names that a shell or a makefile would take apart.
constexpr const char* kOddNames =
    R"({"puzzle": 1, "vars": {"v": ["a b", "it's", "$HOME", "50%", "x\\y"]},
  "nodes": {
  "t": {"kind": "text", "foreach": {"v": "${v}"}, "params": {"value": "${v}"}},
  "up": {"kind": "upper", "foreach": {"v": "${v}"}, "in": {"in": "t[v=${v}]"}},
  "all": {"kind": "concat", "in": {"parts": ["up"]}, "params": {"separator": "+"}}}})";

TEST_F(MakeflowTest, HasARulePerStepWithItsInputs) {
  Write("g.json", kGraph);
  const Result text = Puzzle({"graph", "g.json", "--format", "makeflow", "--store", "s t"});
  ASSERT_EQ(text.status, 0) << text.err;
  const auto rules = nlohmann::json::parse(text.out)["rules"];
  ASSERT_EQ(rules.size(), 8u);
  std::map<std::string, nlohmann::json> by_output;
  for (const auto& rule : rules) by_output[rule["outputs"][0]] = rule;
  const auto all = by_output.at("0006.all.done");
  EXPECT_EQ(all["inputs"], (nlohmann::json{"0003.s.done", "0004.s.done", "0005.s.done"}));
  EXPECT_THAT(all["command"].get<std::string>(),
              HasSubstr(" run g.json --store 's t' --quiet --only all) && touch 0006.all.done"));
  EXPECT_THAT(by_output.at("0003.s.done")["command"].get<std::string>(),
              HasSubstr("--only 's[i=0]'"));
}

TEST_F(MakeflowTest, AGraphThatCanBeReadOnceIsRefused) {
  Write("g.json", kGraph);
  const ProgramFolder shell("/bin/sh");
  const Result refused = shell.Run(
      {"-c", "cat '" + path() + "/g.json' | " + TOY_PUZZLE + " graph - --format makeflow"});
  EXPECT_EQ(refused.status, 1);
  EXPECT_EQ(refused.out, "");
  EXPECT_THAT(refused.err, HasSubstr("needs the graph in a file"));
}

TEST_F(MakeflowTest, MakeflowComputesEveryStepOnceAndNamesSurviveIt) {
  if (!Installed()) GTEST_SKIP() << "no makeflow here (Debian: coop-computing-tools, openmpi-bin)";
  std::filesystem::create_directory(path() + "/engine");
  Write("g.json", kOddNames);
  Write("engine/g.makeflow", Puzzle({"graph", "g.json", "--format", "makeflow"}).out);
  const std::string said = Makeflow("-T local -j 3 g.makeflow");
  EXPECT_TRUE(std::filesystem::exists(path() + "/engine/0010.all.done")) << said;
  const Result again = Puzzle({"run", "g.json", "--summary", "summary.json"});
  EXPECT_THAT(again.out, HasSubstr("11 steps: 11 cached")) << said;
  EXPECT_EQ(Summary()["results"]["all"]["text"], "$HOME+50%+A B+IT'S+X\\Y");
  const auto runs = nlohmann::json::parse(Puzzle({"runs", "--json"}).out);
  EXPECT_EQ(runs.size(), 11u) << "one run per step, none that had nothing to do";
}

}  // namespace
}  // namespace puzzle::testing
