#include "nodes/search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/error.h"
#include "nodes/cost.h"

namespace puzzle {
namespace {

using nlohmann::json;
using testing::HasSubstr;

ModelConfig Parent() {
  ModelConfig config;
  config.vocab_size = 4096;
  config.hidden_size = 192;
  config.n_heads = 6;
  config.head_dim = 32;
  config.max_positions = 512;
  config.tied_embeddings = true;
  config.blocks.assign(2, {{SubBlockForm::kFull, 2}, {SubBlockForm::kFull, 512}});
  return config;
}

const std::vector<std::string> kVariants = {"attn:kv1", "attn:none", "ffn:50%", "ffn:100%"};

CostTable Costs() {
  return CountCosts(Parent(), kVariants, 8, Scenario{4, 512, 2, 2});
}

std::vector<Score> Scores(double base) {
  std::vector<Score> scores;
  for (int64_t layer = 0; layer < 2; ++layer) {
    for (const std::string& variant : kVariants) {
      Score score;
      score.layer = layer;
      score.variant = variant;
      score.spec = ResolveVariant(variant, Parent(), layer);
      score.metrics.tokens = score.base.tokens = 10;
      score.metrics.kl = 10 * base * static_cast<double>(layer + 1);
      scores.push_back(score);
    }
  }
  return scores;
}

TEST(CostTest, TableHoldsEveryVariantOnceAndTheParentsOwn) {
  const CostTable table = Costs();
  ASSERT_EQ(table.rows.size(), 2u * 5u) << "ffn:100% is the parent's own";
  EXPECT_TRUE(table.rows[0].parents_own);
  EXPECT_EQ(table.rows[0].variant, "attn:kv2");
  EXPECT_EQ(table.parent_total[0], 2 * (98'496 + 295'104));
  EXPECT_EQ(table.parent_total[1], table.parent_total[0] + 4096 * 192 + 192);
  EXPECT_EQ(table.parent_total[3], 4);
  // kv2: weights + 2 * 2 heads * 32 * 512 * 4 sequences * 2 bytes.
  EXPECT_DOUBLE_EQ(table.rows[0].costs[2], (98'496 * 2 + 2 * 2 * 32 * 512 * 4 * 2) / 1048576.0);
}

TEST(SearchTest, LimitsAreAbsoluteOrOfTheParent) {
  const CostTable costs = Costs();
  const auto limits =
      ReadLimits(json{{"kv_heads", 1}}, json{{"parameters", "70%"}, {"kv_heads", 3}}, costs);
  ASSERT_EQ(limits.size(), 2u);
  EXPECT_EQ(limits[0].resource, "kv_heads");
  EXPECT_EQ(limits[0].low, 1);
  EXPECT_EQ(limits[0].high, 3);
  EXPECT_DOUBLE_EQ(limits[1].high, 0.7 * costs.parent_total[1]);
  EXPECT_EQ(limits[1].fixed, costs.fixed[1]);
}

TEST(SearchTest, WrongLimitsAreRefusedByName) {
  auto failure = [](const json& min, const json& max) -> std::string {
    try {
      (void)ReadLimits(min, max, Costs());
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_THAT(failure({}, {{"memry", 1}}), HasSubstr("unknown resource \"memry\"; there are"));
  EXPECT_THAT(failure({}, {{"parameters", "70"}}), HasSubstr("max.parameters: expected a number"));
  EXPECT_THAT(failure({}, {{"parameters", nullptr}}), HasSubstr("max.parameters"));
  EXPECT_THAT(failure({{"kv_heads", 3}}, {{"kv_heads", 2}}), HasSubstr("min 3 is above max 2"));
}

TEST(SearchTest, EverySubBlockIsAGroupWhoseOwnVariantIsFree) {
  const SearchSpace space = MakeSearchSpace(Costs(), Scores(0.5), SearchParams{}, [](auto&) {});
  ASSERT_EQ(space.problem.groups.size(), 4u);
  EXPECT_EQ(space.problem.groups[0].size(), 3u);
  EXPECT_EQ(space.problem.groups[1].size(), 2u);
  EXPECT_EQ(space.problem.groups[0][0].score, 0);
  EXPECT_DOUBLE_EQ(space.problem.groups[2][1].score, 1.0);
}

TEST(SearchTest, AVariantWithoutAScoreIsLeftOutLoudlyAndNanIsRefused) {
  std::vector<Score> scores = Scores(0.5);
  scores.erase(scores.begin());
  std::vector<std::string> warnings;
  const SearchSpace space = MakeSearchSpace(Costs(), scores, SearchParams{},
                                            [&](const std::string& w) { warnings.push_back(w); });
  EXPECT_EQ(space.problem.groups[0].size(), 2u);
  EXPECT_THAT(warnings, testing::ElementsAre(HasSubstr("layer 0: variant attn:kv1 has no score")));
  EXPECT_THROW((void)MakeSearchSpace(Costs(), Scores(std::nan("")), SearchParams{}, [](auto&) {}),
               Error);
}

}  // namespace
}  // namespace puzzle
