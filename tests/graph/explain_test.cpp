// Why a step would run, back to the origin; what past runs did and how they differ; what `show`
// tells.
#include "graph/plan/explain.h"

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "graph/view/draw.h"
#include "graph/view/run_diff.h"
#include "graph/view/run_log.h"
#include "graph/view/show.h"
#include "io/error.h"
#include "tests/graph/graph_test_fixture.h"

namespace puzzle::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class ExplainTest : public GraphTest {
 protected:
  Explanation Of(const std::string& step) {
    Plan();
    return Explain(*plan_, forecast_, Find(step), *store_);
  }
  std::string TextOfExplanation(const std::string& step) {
    const Explanation explanation = Of(step);
    return ExplanationText(*plan_, forecast_, explanation);
  }
  /// Runs and leaves a log, as the command line does.
  RunLog Logged() {
    Run();
    RunLog log = MakeRunLog(*plan_, report());
    log.command = "puzzle run g.json";
    log.again = "puzzle run g.json";
    SaveRunLog(folder() + "/store", log);
    return log;
  }
  Shown Show(const std::string& name) { return FindShown(*store_, name); }
};

constexpr const char* kExplainChain = R"({"puzzle": 1, "nodes": {
  "a": {"kind": "text", "params": {"value": "v"}},
  "b": {"kind": "upper", "in": {"in": "a"}},
  "c": {"kind": "concat", "in": {"parts": ["b"]}},
  "d": {"kind": "upper", "in": {"in": "c"}}}})";

TEST_F(ExplainTest, AWaitingStepIsFollowedToTheChangeItWaitsFor) {
  Load(kExplainChain);
  Run();
  Set("a.value=w");
  const Explanation explanation = Of("d");
  std::vector<std::string> reasons;
  for (const Cause& cause : explanation.chain) reasons.push_back(cause.step + " " + cause.reason);
  EXPECT_THAT(reasons, ElementsAre("d waits for c", "c waits for b", "b waits for a",
                                   "a params.value: \"v\" -> \"w\""));
  EXPECT_EQ(explanation.chain.back().Text(), "params.value of a changed: \"v\" -> \"w\"");
  EXPECT_THAT(TextOfExplanation("d"),
              HasSubstr("  because  params.value of a changed: \"v\" -> \"w\"\n"));
}

TEST_F(ExplainTest, AnInputThatChangedIsFollowedThroughTheRecordsOfFinishedSteps) {
  Load(kExplainChain);
  Run();
  Set("a.value=w");
  selection_.until = {"b"};
  Run();
  selection_ = {};
  const Explanation explanation = Of("c");
  std::vector<std::string> reasons;
  for (const Cause& cause : explanation.chain) reasons.push_back(cause.step + " " + cause.reason);
  EXPECT_THAT(reasons, ElementsAre("c input parts changed (b)", "b input in changed (a)",
                                   "a params.value: \"v\" -> \"w\""));
}

TEST_F(ExplainTest, EverythingThatChangedIsListedNotOnlyTheFirst) {
  Load(R"({"puzzle": 1, "nodes": {"e": {"kind": "every", "params": {"required": 1}}}})");
  Run();
  Set("e.integer=2");
  Set("e.number=0.001");
  Set("e.texts=[\"x\"]");
  const Explanation explanation = Of("e");
  std::vector<std::string> components;
  for (const Change& change : explanation.changes) components.push_back(change.Component());
  EXPECT_THAT(components, ElementsAre("params.integer", "params.number", "params.texts"));
  const auto json = ExplanationJson(*plan_, forecast_, explanation);
  EXPECT_EQ(json["changes"][1]["before"], 1);
  EXPECT_EQ(json["changes"][1]["after"], 0.001);
  EXPECT_EQ(json["changes"][2]["before"], nlohmann::ordered_json::array());
  EXPECT_EQ(json["chain"][0]["change"]["component"], "params.integer");
  EXPECT_EQ(json["expected_from"], "last run");
}

TEST_F(ExplainTest, AFileIsNamedByItsPathAndAStepThatNeverRanByItsName) {
  WriteFile("f.txt", "one");
  Load(R"({"puzzle": 1, "nodes": {"f": {"kind": "file", "params": {"path": ")" + folder() +
       R"(/f.txt"}}, "u": {"kind": "upper", "in": {"in": "f"}}}})");
  EXPECT_EQ(Of("u").chain.back().Text(), "u: missing");
  Run();
  WriteFile("f.txt", "second");
  EXPECT_EQ(Of("u").chain.back().Text(),
            "params.path of f: content of " + folder() + "/f.txt changed");
}

TEST_F(ExplainTest, AHitSaysWhenItWasMade) {
  Load(kExplainChain);
  Run();
  EXPECT_THAT(Of("c").chain, IsEmpty());
  EXPECT_THAT(TextOfExplanation("c"), HasSubstr("HIT   c\n"));
  EXPECT_THAT(TextOfExplanation("c"), HasSubstr("  made     20"));
}

TEST_F(ExplainTest, ThePlanTellsOriginsWhenAsked) {
  Load(kExplainChain);
  Run();
  Set("a.value=w");
  Plan();
  const auto origins = Origins(*plan_, forecast_, *store_);
  EXPECT_EQ(origins[Find("d")], origins[Find("a")]);  // shared
  const std::string text = ForecastText(*plan_, forecast_, false, 1, origins);
  EXPECT_THAT(text, HasSubstr("RUN   a  params.value: \"v\" -> \"w\"\n"));
  EXPECT_THAT(text, HasSubstr("WAIT  d  waits for c  (because params.value of a changed: \"v\" -> "
                              "\"w\")\n"));
  const auto json = nlohmann::json::parse(ForecastJson(*plan_, forecast_, 1, origins));
  EXPECT_EQ(json["plan"][3]["cause"]["step"], "a");
  EXPECT_EQ(json["plan"][3]["cause"]["change"]["before"], "v");
}

TEST_F(ExplainTest, TwoRunsDifferInStepsReasonsAndResults) {
  Load(kExplainChain);
  Logged();
  Set("a.value=longer");
  Logged();
  const std::string store = folder() + "/store";
  const RunDifference difference = DiffRuns(LoadRun(store, "2"), LoadRun(store, "1"), *store_);
  EXPECT_EQ(difference.same, 0u);
  ASSERT_EQ(difference.steps.size(), 4u);
  const StepDifference& c = difference.steps[2];
  EXPECT_EQ(c.step, "c");
  EXPECT_EQ(c.chain.back().Text(), "params.value of a changed: \"v\" -> \"longer\"");
  ASSERT_EQ(c.scalars.size(), 2u);
  EXPECT_EQ(c.scalars[0].name, "length");
  EXPECT_EQ(c.scalars[0].before, "1");
  EXPECT_EQ(c.scalars[0].after, "6");
  const std::string text = DifferenceText(difference);
  EXPECT_THAT(text, HasSubstr("changed  c  input parts changed (b)  (because params.value of a "
                              "changed: \"v\" -> \"longer\")\n"));
  EXPECT_THAT(text, HasSubstr("0 steps the same, 4 changed\n"));
}

TEST_F(ExplainTest, StepsThatAreNewOrGoneOrFailAreDifferencesToo) {
  options_.keep_going = true;
  Load(R"({"puzzle": 1, "nodes": {"a": {"kind": "text"}, "old": {"kind": "text"},
           "f": {"kind": "text", "params": {"value": "f"}}}})");
  Logged();
  Load(
      R"({"puzzle": 1, "nodes": {"a": {"kind": "text"}, "new": {"kind": "upper", "in": {"in": "a"}},
           "f": {"kind": "fail", "in": {"in": "a"}}}})");
  Logged();
  const std::string store = folder() + "/store";
  const std::string text =
      DifferenceText(DiffRuns(LoadRun(store, "2"), LoadRun(store, "1"), *store_));
  EXPECT_THAT(text, HasSubstr("new      new\n"));
  EXPECT_THAT(text, HasSubstr("gone     old\n"));
  EXPECT_THAT(text, HasSubstr("outcome  f  ok -> failed\n"));
  EXPECT_THAT(text, HasSubstr("1 steps the same"));
}

TEST_F(ExplainTest, RunsAreFoundByNumberOrBeginningAndDamagedOnesAreLeftOut) {
  Load(kExplainChain);
  const RunLog first = Logged();
  const std::string store = folder() + "/store";
  EXPECT_EQ(LoadRun(store, "1").id, first.id);
  EXPECT_EQ(LoadRun(store, first.id.substr(0, 10)).steps.size(), 4u);
  EXPECT_THROW((void)LoadRun(store, "2"), Error);
  EXPECT_THROW((void)LoadRun(store, ""), Error);
  EXPECT_THROW((void)LoadRun(folder() + "/nowhere", "1"), Error);
  std::ofstream(store + "/runs/99990101T000000Z-1.jsonl") << "{\"puzzle_run\": 1";
  EXPECT_EQ(ListRuns(store).size(), 1u);
  EXPECT_THROW((void)LoadRun(store, "99990101"), Error);
  EXPECT_EQ(LoadRun(store, "1").id, first.id) << "the numbers are those of the list";
  EXPECT_THAT(RunListText(ListRuns(store)), HasSubstr("4 ok\n     puzzle run g.json\n"));
}

TEST_F(ExplainTest, AStoreThatIsALinkToAFolderKeepsLogsToo) {
  Load(kExplainChain);
  (void)Logged();
  std::filesystem::create_directory_symlink(folder() + "/store", folder() + "/link");
  RunLog log;
  SaveRunLog(folder() + "/link", log);
  EXPECT_EQ(ListRuns(folder() + "/store").size(), 2u);
}

TEST_F(ExplainTest, AResultIsShownWithItsOriginAndItsCommand) {
  Load(kExplainChain);
  options_.command = "puzzle run g.json";
  Run();
  const std::string key = KeyOfStep("c");
  const Shown shown = Show("c");
  const std::string text = ShownText(shown, *store_);
  EXPECT_THAT(text, HasSubstr("  key         " + key + "\n"));
  EXPECT_THAT(text, HasSubstr("  result      length 1, text \"V\"\n"));
  EXPECT_THAT(text, HasSubstr("  parts: b  "));
  EXPECT_THAT(text, HasSubstr("    in: a  "));
  EXPECT_THAT(text, HasSubstr("  puzzle run g.json --only c --force c\n"));
  EXPECT_EQ(Show(key).step, "c");
  EXPECT_EQ(Show(key.substr(0, 12)).step, "c");
  EXPECT_EQ(nlohmann::json::parse(ShownJson(shown))["record"]["key"], key);
  EXPECT_THROW((void)Show("nothing"), Error);
  EXPECT_THROW((void)Show("0123456789"), Error);
}

TEST_F(ExplainTest, APictureIsGivenOutWhereAResultBringsOne) {
  Load(R"({"puzzle": 1, "nodes": {
      "plot": {"kind": "picture", "params": {"svg": "<svg>drawn</svg>"}},
      "a": {"kind": "text"}}})");
  Run();
  EXPECT_EQ(ShownPicture(Show("plot"), *store_), "<svg>drawn</svg>");
  EXPECT_THROW((void)ShownPicture(Show("a"), *store_), Error);
}

TEST_F(ExplainTest, AnAcceptedResultIsShownAsOne) {
  Load(kExplainChain);
  Run();
  Set("c.separator=;");
  selection_.accept = {"c"};
  Run();
  EXPECT_THAT(ShownText(Show("c"), *store_),
              HasSubstr("in spite of params.separator: \",\" -> \";\"\n"));
}

TEST_F(ExplainTest, AFailureIsShownUntilTheStepSucceeds) {
  Load(R"({"puzzle": 1, "nodes": {"a": {"kind": "text"},
           "f": {"kind": "fail", "in": {"in": "a"}, "params": {"message": "disk on fire"}}}})");
  Logged();
  const std::string text = ShownText(Show("f"), *store_);
  EXPECT_THAT(text, HasSubstr("disk on fire\n"));
  EXPECT_THAT(text, HasSubstr("inputs      a\n"));
  EXPECT_THAT(text, HasSubstr("puzzle run g.json --only f\n"));
  Load(
      R"({"puzzle": 1, "nodes": {"a": {"kind": "text"}, "f": {"kind": "upper", "in": {"in": "a"}}}})");
  Logged();
  EXPECT_THAT(ShownText(Show("f"), *store_), Not(HasSubstr("disk on fire")));
}

TEST_F(ExplainTest, WordsAreQuotedForTheShellWhenTheyHaveTo) {
  EXPECT_EQ(ShellWord("puzzle"), "puzzle");
  EXPECT_EQ(ShellWord("a[i=1]"), "'a[i=1]'");
  EXPECT_EQ(ShellWord("it's"), "'it'\\''s'");
  EXPECT_EQ(ShellWord(""), "''");
  EXPECT_EQ(ShellWord("vars.x=1,2%"), "vars.x=1,2%");
  for (const char* word : {"a\nb", "a\tb", "a\rb", "a=~b", "ä"})  // "a\nb" was two commands
    EXPECT_EQ(ShellWord(word), std::string("'") + word + "'");
}

}  // namespace
}  // namespace puzzle::testing
