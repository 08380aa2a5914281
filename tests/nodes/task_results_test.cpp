#include "nodes/measure/task_results.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

namespace puzzle {
namespace {

using testing::HasSubstr;

Task Choices(size_t questions, std::vector<int64_t> lengths) {
  Task task;
  task.name = "t";
  for (size_t i = 0; i < questions; ++i)
    task.items.push_back({{"c"}, std::vector<std::string>(lengths.size(), "x"), lengths, 0});
  return task;
}

TEST(TaskResultsTest, TheNormalisedAccuracyDividesByTheChoicesLength) {
  const Task task = Choices(2, {10, 2});
  const TaskResult result = JudgeTask(task, {{{-5, false}, {-4, false}},  // only per character
                                             {{-3, false}, {-4, false}}});
  EXPECT_EQ(result.n, 2);
  EXPECT_DOUBLE_EQ(result.figures.at("acc"), 0.5);
  EXPECT_DOUBLE_EQ(result.figures.at("acc_norm"), 1.0);
  EXPECT_DOUBLE_EQ(result.figures.at("stderr"), 0.5);  // sqrt(.5 * .5 / (2 - 1))
  EXPECT_DOUBLE_EQ(result.figures.at("acc_norm_stderr"), 0);
  EXPECT_EQ(result.right, "01");
}

TEST(TaskResultsTest, TiesAndWhatIsNoNumberAreWrong) {
  const double nan = std::nan("");
  const TaskResult result = JudgeTask(Choices(5, {1, 1}), {{{-2, false}, {-2, false}},
                                                           {{nan, false}, {-1, false}},
                                                           {{-1, false}, {nan, false}},
                                                           {{nan, false}, {nan, false}},
                                                           {{-1, false}, {-2, false}}});
  EXPECT_EQ(result.right, "00001");
  EXPECT_DOUBLE_EQ(result.figures.at("acc_norm"), 0.2);
}

TEST(TaskResultsTest, AGreedyMatchIsRightAndHasAPerplexity) {
  Task task;
  task.scoring = TaskScoring::kGreedy;
  task.items.resize(3);
  const TaskResult result = JudgeTask(task, {{{-1, true}}, {{-3, false}}, {{std::nan(""), true}}});
  EXPECT_EQ(result.right, "100");
  EXPECT_TRUE(std::isnan(result.figures.at("ppl")));
  task.items.resize(2);
  EXPECT_DOUBLE_EQ(JudgeTask(task, {{{-1, true}}, {{-3, false}}}).figures.at("ppl"), std::exp(2));
}

TaskResult Answered(const std::string& name, const std::string& right) {
  Task task = Choices(right.size(), {1, 1});
  task.name = name;
  std::vector<std::vector<ContinuationScore>> scores;
  for (const char c : right) scores.push_back({{c == '1' ? -1.0 : -3.0, false}, {-2, false}});
  return JudgeTask(task, scores);
}

TEST(TaskResultsTest, AveragesAndWhatIsPreserved) {
  const std::vector<TaskResult> parent = {Answered("a", "1111011101"), Answered("b", "10100111")};
  EXPECT_NEAR(AverageOf(parent).mean, (0.8 + 0.625) / 2, 1e-12);
  EXPECT_NEAR(AverageOf(parent).error,
              std::hypot(std::sqrt(0.8 * 0.2 / 9), std::sqrt(0.625 * 0.375 / 7)) / 2, 1e-12);
  const TaskMean all = Preserved(parent, parent);
  EXPECT_DOUBLE_EQ(all.mean, 1);
  EXPECT_DOUBLE_EQ(all.error, 0);  // the same answers leave no doubt
  const std::vector<TaskResult> child = {Answered("a", "1101011101"), Answered("b", "10100111")};
  const TaskMean kept = Preserved(child, parent);
  EXPECT_NEAR(kept.mean, (0.7 + 0.625) / (0.8 + 0.625), 1e-12);
  EXPECT_GT(kept.error, 0);
  // One of 18 answers differs: far less doubt than the two accuracies have.
  EXPECT_LT(kept.error, AverageOf(child).error / AverageOf(parent).mean);
}

TEST(TaskResultsTest, ATextCountsInNoAverage) {
  TaskResult text;
  text.name = "wikitext2";
  text.figures = {{"token_ppl", 20.0}, {"word_ppl", 40.0}};
  EXPECT_EQ(AverageOf(std::vector<TaskResult>{text}).tasks, 0);
  EXPECT_NEAR(AverageOf(std::vector<TaskResult>{text, Answered("a", "10")}).mean, 0.5, 1e-12);
}

TEST(TaskResultsTest, JsonNamesTheFigures) {
  std::vector<TaskResult> results = {Answered("a", "1110")};
  results[0].cut = 2;
  EXPECT_EQ(
      ToJson(results).dump(),
      R"({"a":{"n":4,"acc":0.75,"acc_norm":0.75,"stderr":0.25,"acc_norm_stderr":0.25,"cut":2}})");
}

TEST(TaskResultsTest, TheTableShowsWhatAChildKeeps) {
  TaskResult cut = Answered("b", "1100");
  cut.cut = 3;
  const std::string table =
      TaskTable({{"parent", {Answered("a", "1111011101"), Answered("b", "1110")}},
                 {"child", {Answered("a", "1101011101"), cut}}},
                0);
  EXPECT_THAT(table, HasSubstr("task              parent            child     preserved\n"));
  EXPECT_THAT(table, HasSubstr("a acc    0.8000 +-0.1333  0.7000 +-0.1528  87.5%"));
  EXPECT_THAT(table, HasSubstr("average  0.7750"));
  EXPECT_THAT(table, HasSubstr("child: 3 of 4 questions of b are longer than the model's context"));
  EXPECT_THAT(TaskTable({{"model", {Answered("a", "10")}}}, -1),
              testing::Not(HasSubstr("preserved")));
}

}  // namespace
}  // namespace puzzle
