#include "nodes/cost/speed_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/error.h"
#include "tests/io/test_files.h"
#include "tests/nodes/token_metrics.h"

namespace puzzle {
namespace {

using testing::HasSubstr;
using testing::Not;

// Of 1,000 questions, so many right; the parent is the one with all block parameters.
Evaluation AnsweredBy(const std::string& label, int64_t blocks, int64_t right) {
  Evaluation evaluation;
  evaluation.label = label;
  evaluation.parameters = blocks + 100;
  evaluation.block_parameters = blocks;
  evaluation.has_kl = blocks < 1000;
  evaluation.metrics = MetricsWith(Metric::kKl, 0.125);
  const double accuracy = static_cast<double>(right) / 1000;
  evaluation.tasks = {{"copa", 1000, 0, {{"acc", accuracy}, {"stderr", 0.01}}, "acc", {}}};
  return evaluation;
}

Bench Timed(const std::string& label, int64_t batch, double ratio, double predicted) {
  Bench bench;
  bench.options.batch = batch;
  BenchResult parent, child;
  parent.model = "parent";
  parent.decode_tok_s = {100, 99, 101};
  child.model = label;
  child.decode_tok_s = {100 * ratio, 99 * ratio, 101 * ratio};
  child.ratio = ratio;
  parent.memory_mib = 200;
  child.memory_mib = 200 / ratio;
  child.predicted_ratio = predicted;
  bench.results = {parent, child};
  return bench;
}

std::vector<Evaluation> FourModels() {
  return {AnsweredBy("small", 400, 450), AnsweredBy("large", 900, 495),
          AnsweredBy("parent", 1000, 500), AnsweredBy("medium", 700, 493)};
}

std::vector<Bench> SpeedsOf() {
  return {Timed("large", 1, 1.1, 1.12),  Timed("large", 32, 1.2, 1.25),
          Timed("medium", 1, 1.3, 1.35), Timed("medium", 32, 1.6, 1.65),
          Timed("small", 1, 1.9, 2.0),   Timed("small", 32, 2.3, 2.9)};
}

TEST(SpeedReportTest, NamesTheFastestThatKeepsEnoughAndTheBestThatIsFastEnough) {
  const std::string text = SpeedTable({}, FourModels(), SpeedsOf());
  EXPECT_THAT(text, HasSubstr("decode at batch 32"));
  // 98.6 % are enough, 90 % are not; nothing else is 2.17 x as fast.
  EXPECT_THAT(text, HasSubstr("keeps 98.4% of the task accuracy: \"medium\", 1.60 x, keeps 98.6%"));
  EXPECT_THAT(text, HasSubstr("best at 2.17 x: \"small\", 2.30 x, keeps 90.0%"));
  EXPECT_THAT(text, HasSubstr("batch 1: within 10% of the measured one for 3 of 3 children"));
  EXPECT_THAT(text, HasSubstr("batch 32: within 10% of the measured one for 2 of 3 children, at "
                              "worst +26.1% (\"small\")"));
  EXPECT_THAT(text, HasSubstr("230.0    2.300      2.900    43.5%"));
  EXPECT_LT(text.find("parent "), text.find("large "));
  EXPECT_LT(text.find("large "), text.find("medium "));
}

TEST(SpeedReportTest, TheBatchAndTheBoundsAreTheUsers) {
  SpeedReportParams params;
  params.batch = 1;
  params.keep = 99;
  params.speedup = 2;
  const std::string text = SpeedTable(params, FourModels(), SpeedsOf());
  EXPECT_THAT(text, HasSubstr("keeps 99% of the task accuracy: \"large\", 1.10 x"));
  EXPECT_THAT(text, HasSubstr("best at 2 x: none was that fast; the fastest is \"small\", 1.90 x"));
  params.keep = 99.9;
  EXPECT_THAT(SpeedTable(params, FourModels(), SpeedsOf()),
              HasSubstr("of the task accuracy: none of the children does"));
  std::vector<Evaluation> exact = FourModels();
  exact[0] = AnsweredBy("small", 400, 285);
  params.keep = 57;
  EXPECT_THAT(SpeedTable(params, exact, SpeedsOf()),
              HasSubstr("keeps 57% of the task accuracy: \"small\", 1.90 x, keeps 57.0%"));
  params.batch = 8;
  EXPECT_THAT(ErrorOf([&] { (void)SpeedTable(params, FourModels(), SpeedsOf()); }),
              HasSubstr("nothing was measured at batch 8; there are 1, 32"));
}

TEST(SpeedReportTest, ModelsThatWereNotTimedStandInTheTable) {
  const std::string text = SpeedTable({}, FourModels(), {Timed("large", 32, 1.2, 1.25)});
  EXPECT_THAT(text, HasSubstr("small"));
  EXPECT_THAT(text, Not(HasSubstr("batch 1,")));
}

TEST(SpeedReportTest, MemoryIsThatOfTheParentBesideTheModel) {
  Bench rounded = Timed("small", 32, 2, 2);  // as with int8: 100 of 200 MiB are 25 of 50
  for (BenchResult& result : rounded.results) result.memory_mib /= 4;
  EXPECT_THAT(SpeedTable({}, FourModels(), {Timed("large", 32, 1.25, 1), rounded}),
              testing::AllOf(HasSubstr("2.000      2.000    50.0%"), HasSubstr("100.0%\n"),
                             HasSubstr("1.250      1.000    80.0%")));
}

TEST(SpeedReportTest, WhatDoesNotBelongTogetherIsNamed) {
  const auto failure = [](std::vector<Evaluation> evaluations, const std::vector<Bench>& benches) {
    return ErrorOf([&] { (void)SpeedTable({}, std::move(evaluations), benches); });
  };
  std::vector<Evaluation> orphans = FourModels();
  orphans.erase(orphans.begin() + 2);
  EXPECT_THAT(failure(orphans, SpeedsOf()), HasSubstr("connect the parent's own evaluation"));
  std::vector<Evaluation> other = FourModels();
  other[0].tasks[0].n = 500;
  EXPECT_THAT(failure(other, SpeedsOf()), HasSubstr("\"small\" was not asked the tasks"));
  EXPECT_THAT(failure(FourModels(), {Timed("tiny", 1, 2, 2)}), HasSubstr("called \"tiny\""));
  Bench alone = Timed("small", 1, 2, 2);
  alone.results.erase(alone.results.begin());
  EXPECT_THAT(failure(FourModels(), {alone}), HasSubstr("connect its port `parent`"));
  EXPECT_THAT(failure(FourModels(), {Timed("small", 1, 2, 2), Timed("small", 1, 2, 2)}),
              HasSubstr("two benches are called \"small\" at batch 1"));
  EXPECT_THAT(failure(FourModels(), {}), HasSubstr("connect steps of kind bench"));
  std::vector<Evaluation> namesakes = FourModels();
  namesakes[0].label = "large";  // whose is the speed of "large"?
  EXPECT_THAT(failure(namesakes, {Timed("large", 1, 2, 2)}),
              HasSubstr("two children's evaluations are called \"large\" as a bench is"));
  EXPECT_THAT(SpeedTable({}, namesakes, {Timed("medium", 1, 2, 2)}),
              HasSubstr("\"medium\", 2.00 x"))
      << "nobody asks whose it is";
}

}  // namespace
}  // namespace puzzle
