#include "nodes/measure/claims.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "tests/io/test_files.h"

namespace puzzle {
namespace {

using testing::HasSubstr;

// A KL over 100 tokens with this standard error.
Evaluation WithKl(const std::string& label, double kl, double error) {
  Evaluation evaluation;
  evaluation.label = label;
  evaluation.has_kl = true;
  TokenMetrics& metrics = evaluation.metrics;
  metrics.tokens = 100;
  metrics.sum[static_cast<size_t>(Metric::kKl)] = 100 * kl;
  metrics.squares[static_cast<size_t>(Metric::kKl)] = 100 * (kl * kl + 99 * error * error);
  return evaluation;
}

std::vector<Evaluation> ThreeChildren() {
  return {WithKl("distilled", 0.3, 0.01), WithKl("plain", 0.5, 0.01), WithKl("other", 0.51, 0.01)};
}

TEST(ClaimsTest, AClaimHoldsWhereTheDifferenceIsTwoStandardErrors) {
  const std::string text = JudgeClaims(
      {{"distilled", "plain"}, {"plain", "distilled"}, {"plain", "other"}}, "kl", ThreeChildren());
  EXPECT_THAT(text, HasSubstr("confirmed  distilled better than plain: kl 0.3000 against 0.5000, "
                              "-0.2000 +-0.0141"));
  EXPECT_THAT(text, HasSubstr("refuted    plain better than distilled"));
  EXPECT_THAT(text, HasSubstr("undecided  plain better than other"));
  EXPECT_THAT(text, HasSubstr("1 of 3 confirmed here, 1 refuted"));
}

TEST(ClaimsTest, OfAccuraciesMoreIsBetter) {
  std::vector<Evaluation> rows = ThreeChildren();
  double accuracy = 0.6;
  for (Evaluation& row : rows) {
    row.tasks = {{"copa", 100, 0, {{"acc", accuracy}, {"stderr", 0.01}}, "acc", {}}};
    accuracy -= 0.1;
  }
  EXPECT_THAT(JudgeClaims({{"distilled", "plain"}}, "task_accuracy", rows),
              HasSubstr("confirmed  distilled better than plain: task_accuracy 0.6000 against "
                        "0.5000, +0.1000"));
  const auto failure = [&] {
    return ErrorOf([&] { (void)JudgeClaims({{"distilled", "plain"}}, "task_accuracy", rows); });
  };
  rows[1].metrics.tokens = 50;  // of the text, which this is not about
  EXPECT_NO_THROW((void)JudgeClaims({{"distilled", "plain"}}, "task_accuracy", rows));
  rows[1].tasks[0].name = "piqa";
  EXPECT_THAT(failure(), HasSubstr("\"distilled\" and \"plain\" were not asked the same tasks"));
  rows[1].tasks.clear();
  EXPECT_THAT(failure(), HasSubstr("\"plain\" has no task accuracy: connect its port `tasks`"));
}

TEST(ClaimsTest, WhatCannotBeComparedIsNamed) {
  std::vector<Evaluation> rows = ThreeChildren();
  const auto failure = [&](const ModelClaim& claim) {
    return ErrorOf([&] { (void)JudgeClaims({claim}, "kl", rows); });
  };
  EXPECT_THAT(failure({"distilled", "plane"}),
              HasSubstr("called \"plane\"; there are \"distilled\", \"plain\", \"other\""));
  rows[1].metrics.tokens = 50;
  EXPECT_THAT(failure({"distilled", "plain"}), HasSubstr("on 100 predictions and \"plain\" on 50"));
  rows.push_back(rows[0]);
  EXPECT_THAT(failure({"distilled", "other"}), HasSubstr("two evaluations"));
}

TEST(ClaimsTest, ClaimsAreReadStrictly) {
  const std::vector<ModelClaim> claims =
      ReadClaims(nlohmann::json::parse(R"([["a", "b"], ["b", "c"]])"));
  ASSERT_EQ(claims.size(), 2u);
  EXPECT_EQ(claims[1].better, "b");
  EXPECT_EQ(claims[1].worse, "c");
  for (const char* text : {"[]", "{}", "[[\"a\"]]", "[[\"a\", 1]]", "[\"a\", \"b\"]"})
    EXPECT_THAT(ErrorOf([&] { (void)ReadClaims(nlohmann::json::parse(text)); }),
                HasSubstr("expected pairs of labels"))
        << text;
  EXPECT_THAT(ErrorOf([] { (void)ReadClaims(nlohmann::json::parse(R"([["a", "a"]])")); }),
              HasSubstr("compared with itself"));
}

}  // namespace
}  // namespace puzzle
