#include "nodes/measure/additivity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nodes/data/artifacts.h"
#include "nodes/measure/artifacts.h"
#include "tests/model/tiny_model.h"
#include "tests/nodes/fake_inputs.h"
#include "tests/nodes/token_metrics.h"

namespace puzzle {
namespace {

using testing::HasSubstr;

Score Scored(int64_t layer, const std::string& variant, double kl) {
  Score score;
  score.layer = layer;
  score.variant = variant;
  score.spec = ResolveVariant(variant, TinyConfig(), layer);
  score.increase = MetricsWith(Metric::kKl, kl);
  return score;
}

std::vector<Score> AdditivityScores() {
  return {Scored(0, "attn:kv1", 0.1),        Scored(0, "ffn:50%", 0.3),
          Scored(1, "attn:none", 1),         Scored(1, "ffn:none", 2),
          Scored(0, "attn:kv1+ffn:24", 0.5), Scored(1, "attn:none+ffn:24", 2),
          Scored(0, "attn:kv2+ffn:24", 0.3), Scored(1, "none", 2.5)};
}

TEST(AdditivityTest, WholeBlocksStandBesideTheSumOfTheirParts) {
  std::vector<std::string> warnings;
  const std::vector<Whole> wholes = WholeBlocks(
      AdditivityScores(), TinyConfig(), [&](const std::string& text) { warnings.push_back(text); });
  ASSERT_EQ(wholes.size(), 2u) << "with the parent's own attention there is nothing to add up";
  EXPECT_EQ(wholes[0].name, "layer 0 attn:kv1+ffn:24");
  EXPECT_DOUBLE_EQ(wholes[0].sum, 0.4);
  EXPECT_DOUBLE_EQ(wholes[0].measured, 0.5);
  EXPECT_EQ(wholes[1].name, "layer 1 none");
  EXPECT_DOUBLE_EQ(wholes[1].sum, 3);
  EXPECT_THAT(warnings, testing::ElementsAre(
                            "layer 1: attn:none+ffn:24 is left out: there is no score of ffn:24"));
}

TEST(AdditivityTest, ErrorsAreSharesOfTheTotalAndRanksAreSpearmans) {
  const AdditivityError error = CompareWholes({{"a", 1, 2}, {"b", 4, 3}, {"c", 6, 5}});
  EXPECT_DOUBLE_EQ(error.bias, 0.1);
  EXPECT_DOUBLE_EQ(error.absolute, 0.3);
  EXPECT_DOUBLE_EQ(error.spearman, 1);
  // Ranks [2, .5, 3, .5, 4] and [1.5, 3, 0, 4, 1.5]: covariance -7.5, both squares 9.5.
  const AdditivityError ties =
      CompareWholes({{"", 3, 2}, {"", 1, 7}, {"", 4, 1}, {"", 1, 8}, {"", 5, 2}});
  EXPECT_NEAR(ties.spearman, -7.5 / 9.5, 1e-12);
  EXPECT_EQ(CompareWholes({}).spearman, 0);
}

TEST(AdditivityTest, ChildrenThatKnowTheirSumAreListed) {
  FakeInputs inputs;
  Checkpoint parent;
  parent.model = TinyModel();
  inputs.Add("parent", "p", parent);
  for (const Score& score : AdditivityScores()) inputs.Add("scores", score.variant, score);
  Evaluation child;
  child.label = "70% child";
  child.has_kl = true;
  child.metrics = MetricsWith(Metric::kKl, 0.8);
  inputs.Add("children", "without a sum", child);
  child.label = "60% child";
  child.predicted = 1;
  inputs.Add("children", "with a sum", child);
  child.label = "the parent";
  child.predicted = 0;
  child.metrics = MetricsWith(Metric::kKl, 0);
  inputs.Add("children", "of the whole budget", child);
  FakeContext context;
  const std::string text = RunAdditivity({}, inputs, context).text;
  EXPECT_THAT(text, HasSubstr("60% child     1.0000    0.8000     +25.0%\n"
                              "the parent    0.0000    0.0000          -\n"));
  EXPECT_THAT(text, testing::Not(HasSubstr("70% child")));
  EXPECT_THAT(text, HasSubstr("layer 0 attn:kv1+ffn:24    0.4000    0.5000     -20.0%\n"));
  EXPECT_EQ(context.warnings.size(), 1u);
}

}  // namespace
}  // namespace puzzle
