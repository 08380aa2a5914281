#include "nodes/report.h"

#include <gmock/gmock.h>

namespace puzzle {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

Evaluation Row(const std::string& label, int64_t block_parameters, double kl = -1) {
  Evaluation row;
  row.label = label;
  row.block_parameters = block_parameters;
  row.has_kl = kl >= 0;
  row.metrics.tokens = 100;
  if (row.has_kl) row.metrics.kl = 100 * kl;
  return row;
}

TEST(ReportTest, SizesAreSharesOfTheParentWhereItIsAmongTheRows) {
  EXPECT_THAT(EvaluationTable({Row("parent", 8000), Row("child", 6000, 0.5)}),
              AllOf(HasSubstr("100.0%"), HasSubstr("75.0%"), HasSubstr("0.5000")));
  EXPECT_THAT(EvaluationTable({Row("one", 6000, 0.5), Row("other", 3000, 0.7)}),
              AllOf(HasSubstr("  6000  "), HasSubstr("  3000  "), Not(HasSubstr("%"))));
}

TEST(ReportTest, RowsThatNameASeriesAreDrawn) {
  std::vector<Evaluation> rows = {Row("parent", 8000), Row("a", 6000, 0.5), Row("b", 4000, 0.9)};
  EXPECT_THAT(EvaluationPicture(rows, {}), IsEmpty());
  rows[1].series = rows[2].series = "greedy";
  const std::string svg = EvaluationPicture(rows, {});
  EXPECT_THAT(svg, AllOf(HasSubstr(">greedy</text>"), HasSubstr("<polyline"), HasSubstr("% of")));
  EXPECT_THAT(EvaluationPicture(rows, {.loose = {"greedy"}}), Not(HasSubstr("<polyline")));
}

}  // namespace
}  // namespace puzzle
