#include "nodes/measure/report.h"

#include <gmock/gmock.h>

#include "nodes/measure/artifacts.h"
#include "tests/nodes/report_row.h"

namespace puzzle {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

TEST(ReportTest, SizesAreSharesOfTheParentWhereItIsAmongTheRows) {
  EXPECT_THAT(EvaluationTable({ReportRow("parent", 8000), ReportRow("child", 6000, 0.5)}),
              AllOf(HasSubstr("100.0%"), HasSubstr("75.0%"), HasSubstr("0.5000")));
  EXPECT_THAT(EvaluationTable({ReportRow("one", 6000, 0.5), ReportRow("other", 3000, 0.7)}),
              AllOf(HasSubstr("  6000  "), HasSubstr("  3000  "), Not(HasSubstr("%"))));
}

TEST(ReportTest, StandardErrorsStandBesideEveryMean) {
  Evaluation row = ReportRow("child", 6000, 0.5), other = ReportRow("other", 6000, 0.5);
  const auto top5 = static_cast<size_t>(Metric::kTop5);
  row.metrics.sum[top5] = row.metrics.squares[top5] = 80;  // of 100: sqrt(.8 * .2 / 99)
  other.metrics.sum[top5] = other.metrics.squares[top5] = 99;
  row.tasks = {{"t", 100, 0, {{"acc", 0.75}, {"stderr", 0.0433}}, "acc", ""}};
  EXPECT_THAT(EvaluationTable({row, other}), HasSubstr("0.0433 (tasks)\n"));
  EXPECT_THAT(
      EvaluationTable({row, other}),
      AllOf(
          HasSubstr("0.5000 +-0.0000"),
          HasSubstr("\nstandard errors are at most 0.0000 (NLL), 0.0000 (top-1), 0.0402 (top-5)")));
}

TEST(ReportTest, TasksAreShownBesideTheParents) {
  Evaluation parent = ReportRow("parent", 8000), child = ReportRow("child", 6000, 0.5);
  EXPECT_EQ(TasksOfRows({parent, child}), "");
  parent.tasks = {{"t", 100, 0, {{"acc", 0.8}, {"stderr", 0.04}}, "acc", ""}};
  child.tasks = {{"t", 100, 0, {{"acc", 0.6}, {"stderr", 0.05}}, "acc", ""}};
  EXPECT_THAT(TasksOfRows({child, parent}),
              AllOf(HasSubstr("child"), HasSubstr("preserved"), HasSubstr("75.0%")));
}

TEST(ReportTest, NothingIsPreservedOfAModelMadeFromScratch) {
  Evaluation parent = ReportRow("parent", 8000), child = ReportRow("child", 6000, 0.5),
             scratch = ReportRow("from scratch", 6000);
  parent.tasks = {{"t", 100, 0, {{"acc", 0.8}, {"stderr", 0.04}}, "acc", ""}};
  child.tasks = {{"t", 100, 0, {{"acc", 0.6}, {"stderr", 0.05}}, "acc", ""}};
  scratch.tasks = {{"t", 100, 0, {{"acc", 0.4}, {"stderr", 0.05}}, "acc", ""}};
  // Of the parent's: 60 of 80, 40 of 80.
  EXPECT_THAT(TasksOfRows({child, scratch, parent}),
              AllOf(HasSubstr(" 75.0%"), HasSubstr(" 50.0%"), Not(HasSubstr("150.0%"))));
}

TEST(ReportTest, RowsThatNameASeriesAreDrawn) {
  std::vector<Evaluation> rows = {ReportRow("parent", 8000), ReportRow("a", 6000, 0.5),
                                  ReportRow("b", 4000, 0.9)};
  EXPECT_THAT(EvaluationPicture(rows, {}), IsEmpty());
  rows[1].series = rows[2].series = "greedy";
  const std::string svg = EvaluationPicture(rows, {});
  EXPECT_THAT(svg, AllOf(HasSubstr(">greedy</text>"), HasSubstr("<polyline"), HasSubstr("% of")));
  EXPECT_THAT(EvaluationPicture(rows, {{}, {}, {"greedy"}}), Not(HasSubstr("<polyline")));
}

}  // namespace
}  // namespace puzzle
