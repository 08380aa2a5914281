#include "nodes/search/search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "graph/kind/params.h"
#include "io/error.h"
#include "nodes/cost/artifacts.h"
#include "nodes/cost/cost.h"
#include "nodes/measure/artifacts.h"
#include "nodes/search/artifacts.h"
#include "nodes/search/block_library.h"
#include "nodes/search/cost_tables.h"
#include "nodes/search/kinds.h"
#include "tests/nodes/token_metrics.h"

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

ServingScenario Serving(int64_t batch) {
  ServingScenario scenario;
  scenario.batch = batch;
  scenario.prefill_length = 256;
  scenario.generation_length = 256;
  return scenario;
}

CostTable Costs(int64_t batch = 4) {
  return CountCosts(Parent(), kVariants, 8, Serving(batch));
}

std::vector<Score> Scores(double base) {
  std::vector<Score> scores;
  for (int64_t layer = 0; layer < 2; ++layer) {
    for (const std::string& variant : kVariants) {
      if (variant == "ffn:100%") continue;  // the parent's own needs no score
      Score score;
      score.layer = layer;
      score.variant = variant;
      score.spec = ResolveVariant(variant, Parent(), layer);
      score.increase = MetricsWith(Metric::kKl, base * static_cast<double>(layer + 1));
      scores.push_back(score);
    }
  }
  return scores;
}

double CostOf(const CostTable& table, size_t row, const std::string& resource) {
  const auto it = std::find(table.resources.begin(), table.resources.end(), resource);
  return table.rows.at(row).costs.at(static_cast<size_t>(it - table.resources.begin()));
}

SearchParams Params(const json& max, const json& min = json::object()) {
  SearchParams params;
  params.max = max;
  params.min = min;
  params.compare = false;
  return params;
}

Choice Find(const SearchParams& params, const std::vector<CostTable>& costs) {
  return FindChild(params, costs, Scores(0.5), [](const auto&) {}, {});
}

TEST(CostTest, TableHoldsEveryVariantOnceAndTheParentsOwn) {
  const CostTable table = Costs();
  ASSERT_EQ(table.rows.size(), 2u * 5u) << "ffn:100% is the parent's own";
  EXPECT_TRUE(table.rows[0].parents_own);
  EXPECT_EQ(table.rows[0].variant, "attn:kv2");
  EXPECT_EQ(table.parent_total[0], 2 * (98'496 + 295'104));
  EXPECT_EQ(table.parent_total[1], table.parent_total[0] + 4096 * 192 + 192);
  EXPECT_EQ(CostOf(table, 0, "kv_heads"), 2);
  // kv2: weights + 2 * 2 heads * 32 * 512 * 4 sequences * 2 bytes.
  EXPECT_DOUBLE_EQ(CostOf(table, 0, "memory_mib"),
                   (98'496 * 2 + 2 * 2 * 32 * 512 * 4 * 2) / 1048576.0);
  EXPECT_EQ(table.timing, "");
}

TEST(CostTest, ActiveParametersCountTheLastNormAsParametersDo) {
  ModelConfig parent = Parent();
  for (const Architecture::Norm norm : {Architecture::Norm::kRms, Architecture::Norm::kLayer}) {
    parent.arch.norm = norm;
    const CostTable table = CountCosts(parent, kVariants, 8, Serving(4));
    ASSERT_EQ(table.resources[2], "active_parameters");
    // The table of embeddings is the head here, which every token meets.
    EXPECT_EQ(table.fixed[2], table.fixed[1]);
    EXPECT_EQ(table.parent_total[2], table.parent_total[1]);
  }
}

TEST(SearchTest, CostsAndScoresThatRoundPercentagesDifferentlyAreRefused) {
  const CostTable costs = CountCosts(Parent(), kVariants, 96, Serving(4));  // 288 of 512 channels
  try {
    Find(Params({{"parameters", "90%"}}), {costs});
    ADD_FAILURE() << "searched";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("layer 0: ffn:50% is ffn:288 in the costs and ffn:256 in "
                                        "the scores"));
    EXPECT_THAT(error.what(), HasSubstr("multiple_of"));
  }
}

TEST(CostTest, ADeviceAddsTimesThatAreMarkedAsEstimates) {
  DeviceModel device{"Toy", {{"bf16", 1}}, 10, 1};
  const CostTable table =
      CountCosts(Parent(), kVariants, 8, Serving(4), CountingRules::kExact, device);
  EXPECT_EQ(table.timing, "roofline estimate for Toy, not measured");
  EXPECT_GT(CostOf(table, 0, "prefill_ms"), 0);
  EXPECT_DOUBLE_EQ(CostOf(table, 0, "runtime_ms"),
                   CostOf(table, 0, "prefill_ms") + CostOf(table, 0, "decode_ms"));
  EXPECT_EQ(Find(Params({{"latency_ms", "85%"}}), {table}).timing, table.timing);
}

TEST(CostTest, MeasuredTimesTakeThePlaceOfEstimates) {
  Latencies latencies{"cpu", {4, 256, 256}, {{1, 0}, {0.5, 0}}, {}};
  for (const char* name : {"attn:kv2", "attn:kv1", "attn:none", "ffn:512", "ffn:256"}) {
    latencies.times[name] = {{2, 0}, {0.25, 0}};
  }
  const CostTable table =
      CountCosts(Parent(), kVariants, 8, Serving(4), CountingRules::kExact, latencies);
  EXPECT_EQ(table.timing, "measured on cpu");
  EXPECT_EQ(CostOf(table, 1, "prefill_ms"), 2);
  EXPECT_EQ(CostOf(table, 1, "decode_ms"), 64);
  EXPECT_EQ(CostOf(table, 1, "runtime_ms"), 66);
  EXPECT_EQ(table.fixed.back(), 1 + 128);
  const auto count = [&](const Latencies& times, int64_t batch) {
    return CountCosts(Parent(), kVariants, 8, Serving(batch), CountingRules::kExact, times);
  };
  EXPECT_THROW((void)count(latencies, 8), Error);
  latencies.times.erase("ffn:256");
  EXPECT_THROW((void)count(latencies, 4), Error);
}

TEST(CostTablesTest, AScoreOfTheParentsOwnCounts) {
  std::vector<Score> scores = Scores(0.5);
  Score own = scores.front();
  own.spec = ParentVariant(Parent(), 0, SubBlock::kAttention);
  own.increase = MetricsWith(Metric::kKl, -1);  // going back to the parent's helps the child
  scores.push_back(own);
  EXPECT_EQ(TableOf(Costs(), scores).table.groups[0].variants[0].metrics[0], -1);
}

TEST(CostTablesTest, WhatDoesNotFitTogetherIsRefused) {
  const auto failure = [](const CostTable& a, const CostTable& b) -> std::string {
    try {
      (void)ByBatch({a, b});
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(failure(Costs(), Costs()), "there are two cost tables of batch 4");
  EXPECT_THROW((void)Find(Params(json::object()), {}), Error);
  EXPECT_EQ(failure(Costs(4), Costs(8)), "no error");
  CostTable other = Costs(8);
  other.scenario.kv = "fp8";
  EXPECT_THAT(failure(Costs(4), other), HasSubstr("costs of different scenarios"));
  other = Costs(8);
  other.parent.hidden_size *= 2;
  EXPECT_THAT(failure(Costs(4), other), HasSubstr("cost tables of different models"));
}

TEST(CostTablesTest, EverySubBlockIsAGroupWhoseOwnVariantIsFree) {
  const VariantTable table = TableOf(Costs(), Scores(0.5)).table;
  ASSERT_EQ(table.groups.size(), 4u);
  EXPECT_EQ(table.groups[0].name, "layer 0 attn");
  EXPECT_EQ(table.groups[0].variants.size(), 3u);
  EXPECT_EQ(table.groups[1].variants.size(), 2u);
  EXPECT_EQ(table.groups[0].variants[0].metrics[0], 0);
  EXPECT_DOUBLE_EQ(table.groups[2].variants[1].metrics[0].value(), 1.0);
  EXPECT_EQ(table.tokens, 4 * 256);
}

Score WholeScore(int64_t layer, const std::string& variant, double kl) {
  Score score;
  score.layer = layer;
  score.variant = variant;
  score.spec = ResolveVariant(variant, Parent(), layer);
  score.increase = MetricsWith(Metric::kKl, kl);
  return score;
}

TEST(CostTablesTest, AWholeBlockThatWasScoredStandsInForTheSumOfItsParts) {
  const CostTable costs = Costs();
  std::vector<Score> scores = Scores(0.5);
  scores.push_back(WholeScore(1, "attn:kv1+ffn:50%", 0.75));
  const OptionTable options = TableOf(costs, scores);
  ASSERT_EQ(options.table.groups.size(), 3u) << "layer 0 still has two";
  const auto& group = options.table.groups[2];
  EXPECT_EQ(group.name, "layer 1");
  ASSERT_EQ(group.variants.size(), 3u * 2u);
  EXPECT_EQ(group.variants[0].name, "attn:kv2 ffn:512");
  EXPECT_EQ(group.variants[0].metrics[0], 0);
  EXPECT_EQ(group.variants[3].name, "attn:kv1+ffn:256");
  EXPECT_DOUBLE_EQ(group.variants[3].metrics[0].value(), 0.75);
  EXPECT_DOUBLE_EQ(group.variants[3].costs[0], 86'208 + 147'648);
  EXPECT_EQ(options.picks[2][3].size(), 1u);
  EXPECT_EQ(options.picks[2][5].size(), 2u);
  EXPECT_DOUBLE_EQ(group.variants[5].metrics[0].value(), 2.0) << "attn:none ffn:256, added up";
}

TEST(CostTablesTest, ListedWholeBlocksCostWhatTheirSubBlocksDo) {
  const CostTable costs = CountCosts(
      Parent(), {"ffn:50%", "none", "attn:kv1+ffn:50%", "attn:kv2+ffn:512"}, 8, Serving(4));
  ASSERT_EQ(costs.rows.size(), 2u * 5u) << "the parent's own pair is no row";
  EXPECT_EQ(costs.rows[4].variant, "attn:kv1+ffn:50%");
  EXPECT_EQ(CostOf(costs, 4, "block_parameters"), 86'208 + 147'648);
  EXPECT_EQ(CostOf(costs, 4, "kv_heads"), 1);
  for (const std::string& resource : costs.resources) EXPECT_EQ(CostOf(costs, 3, resource), 0);
  EXPECT_EQ(costs.parent_total[0], 2 * (98'496 + 295'104));
  std::vector<Score> scores = {WholeScore(0, "none", 2)};
  EXPECT_FALSE(TableOf(costs, scores).table.groups[0].variants.back().metrics[0])
      << "the listed pair has no score";
}

TEST(CostTablesTest, LibrariesHoldEveryShapeOnce) {
  const CostTable costs =
      CountCosts(Parent(), {"attn:kv1", "ffn:50%", "none", "attn:kv1+ffn:50%"}, 8, Serving(4));
  std::vector<Score> scores = Scores(0.5);
  scores.push_back(WholeScore(1, "attn:kv1+ffn:50%", 0.75));
  const VariantTable table = BlockTableOf(costs, scores);
  for (const auto& group : table.groups) {
    ASSERT_EQ(group.variants.size(), 2u * 2u + 1u);
    EXPECT_EQ(group.variants.back().name,
              "attention = no_op (parent * 0%)\t&&\tffn = no_op (parent * 0%)");
  }
  EXPECT_DOUBLE_EQ(table.groups[0].variants[3].metrics[0].value(), 1);
  EXPECT_DOUBLE_EQ(table.groups[1].variants[3].metrics[0].value(), 0.75);
}

TEST(CostTablesTest, ShapesThatDifferInTheirQueryHeadsAreTwoVariantsOfALibrary) {
  const CostTable costs =
      CountCosts(Parent(), {"attn:kv1", "attn:kv1q3", "ffn:50%"}, 8, Serving(4));
  const VariantTable table = BlockTableOf(costs, Scores(0.5));
  ASSERT_EQ(table.groups[0].variants.size(), 3u * 2u);
  EXPECT_EQ(table.groups[0].variants[2].name,
            "attention = 1 kv heads (parent * 50%)\t&&\tffn = intermediate size 512 (parent * "
            "100%)");
  EXPECT_EQ(table.groups[0].variants[4].name,
            "attention = 1 kv heads with 3 query heads (parent * 50%)\t&&\tffn = intermediate size "
            "512 (parent * 100%)");
  const json library = json::parse(WriteBlockLibrary(table).at("block_library.json"));
  EXPECT_EQ(library["layer_0"].size(), 3u * 2u);
}

TEST(CostTablesTest, ScoresThatDoNotFitTheCostsAreRefused) {
  const auto failure = [](const Score& more) -> std::string {
    std::vector<Score> scores = Scores(0.5);
    scores.push_back(more);
    try {
      (void)TableOf(Costs(), scores);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(failure(WholeScore(0, "attn:kv1+ffn:25%", 1)),
            "layer 0: there is a score of attn:kv1+ffn:25%, but the costs lack a part of it");
  Score twice = Scores(0.5)[0];
  EXPECT_EQ(failure(twice), "layer 0: there are two scores of attn:kv1");
  Score outside = WholeScore(1, "none", 1);
  outside.layer = 2;
  EXPECT_EQ(failure(outside), "there is a score of layer 2, but the costs end with layer 1");
}

TEST(CostTablesTest, WholeBlocksAddUpTheirSubBlocks) {
  const CostTable costs = Costs();
  std::vector<Score> scores = Scores(0.5);
  scores.erase(scores.begin());  // attn:kv1 of layer 0
  const VariantTable table = BlockTableOf(costs, scores);
  ASSERT_EQ(table.groups.size(), 2u);
  ASSERT_EQ(table.groups[1].variants.size(), 3u * 2u);
  EXPECT_EQ(table.groups[1].variants[0].name,
            "attention = 2 kv heads (parent * 100%)\t&&\tffn = intermediate size 512 (parent * "
            "100%)");
  const auto& last = table.groups[1].variants.back();
  EXPECT_EQ(last.name,
            "attention = no_op (parent * 0%)\t&&\tffn = intermediate size 256 (parent * "
            "50%)");
  EXPECT_DOUBLE_EQ(last.metrics[0].value(), 2.0);
  EXPECT_DOUBLE_EQ(last.costs[0],
                   CostOf(costs, 7, "block_parameters") + CostOf(costs, 9, "block_parameters"));
  EXPECT_FALSE(table.groups[0].variants[2].metrics[0]) << "kv1 has no score";
  std::vector<double> totals = table.ParentTotals();
  for (size_t r = 0; r < totals.size(); ++r) EXPECT_DOUBLE_EQ(totals[r], costs.parent_total[r]);
}

TEST(SearchTest, TakesTheBestChildWithinTheLimits) {
  // Scores are .5 in layer 0 and 1 in layer 1 for every variant: one step that saves 15 %
  // is enough, and the FFN of layer 0 is the only one.
  const Choice choice = Find(Params({{"block_parameters", "85%"}}), {Costs()});
  EXPECT_EQ(choice.status, "optimal");
  EXPECT_DOUBLE_EQ(choice.objective, 0.5);
  ASSERT_EQ(choice.picks.size(), 4u);
  EXPECT_EQ(choice.picks[1].variant, "ffn:50%");
  EXPECT_EQ(choice.picks[3].variant, "ffn:512");
  EXPECT_EQ(choice.batch, 4);
  EXPECT_DOUBLE_EQ(choice.totals.at("block_parameters"), 2 * 393'600 - 147'456);
  EXPECT_EQ(choice.comparison, "");
}

TEST(SearchTest, AnAccuracyIsMaximised) {
  std::vector<Score> scores = Scores(0.5);
  for (Score& score : scores) {
    const bool is_least = score.layer == 1 && score.variant == "ffn:50%";
    score.increase = MetricsWith(Metric::kTop10, is_least ? -0.125 : -0.25);
  }
  SearchParams params = Params({{"block_parameters", "85%"}});
  params.objective = "token_accuracy_top_10";
  const Choice choice = FindChild(params, {Costs()}, scores, [](const auto&) {}, {});
  EXPECT_DOUBLE_EQ(choice.objective, 0.125) << "what is lost";
  EXPECT_EQ(choice.picks[1].variant, "ffn:512");
  EXPECT_EQ(choice.picks[3].variant, "ffn:50%");
}

// Against every combination of sub-blocks and whole blocks, by hand.
TEST(SearchTest, SubBlocksAndWholeBlocksCompeteInOneSearch) {
  std::vector<Score> scores = Scores(0.5);
  scores.push_back(WholeScore(0, "none", 0.9));              // instead of the parts, which add to 1
  scores.push_back(WholeScore(1, "attn:kv1+ffn:50%", 0.6));  // instead of 2
  scores.push_back(WholeScore(1, "attn:kv2+ffn:512", 0));
  struct Alternative {
    double kl, parameters;
  };
  const auto alternatives = [&](int64_t layer) {
    const double unit = 0.5 * static_cast<double>(layer + 1);
    std::vector<Alternative> all;
    for (const double attention : {98'496., 86'208., 0.})
      for (const double ffn : {295'104., 147'648.})
        all.push_back(
            {(attention < 98'496 ? unit : 0) + (ffn < 295'104 ? unit : 0), attention + ffn});
    if (layer == 0) all.push_back({0.9, 0});
    if (layer == 1) all[3].kl = 0.6;
    return all;
  };
  const std::vector<std::string> variants = {"attn:kv1", "attn:none", "ffn:50%", "none"};
  const CostTable costs = CountCosts(Parent(), variants, 8, Serving(4));
  std::vector<std::string> warnings;
  for (const double share : {0.95, 0.85, 0.7, 0.5, 0.3}) {
    double best = 1e9;
    for (const Alternative& a : alternatives(0))
      for (const Alternative& b : alternatives(1))
        if (a.parameters + b.parameters <= share * 2 * 393'600) best = std::min(best, a.kl + b.kl);
    const Choice choice =
        FindChild(Params({{"block_parameters", share * 2 * 393'600}}), {costs}, scores,
                  [&](const auto& text) { warnings.push_back(text); }, {});
    EXPECT_NEAR(choice.objective, best, 1e-9) << share;
    double parameters = 0;
    std::vector<BlockSpec> blocks(2);
    for (const Choice::Pick& pick : choice.picks)
      Place(pick.spec, blocks[static_cast<size_t>(pick.layer)]);
    for (const BlockSpec& block : blocks)
      parameters += static_cast<double>(CountParameters(block, Parent()));
    EXPECT_EQ(choice.totals.at("block_parameters"), parameters);
  }
  EXPECT_THAT(warnings, testing::Each(HasSubstr("layer 1: variant \"none\" has no kl")));
}

TEST(SearchTest, TheSmallestChildWithinALoss) {
  SearchParams params = Params(json::object());
  params.compare = true;
  params.loss = {{"max", 1.0}};
  const Choice choice = Find(params, {Costs(1), Costs(4)});
  EXPECT_EQ(choice.minimized, "block_parameters");
  // Losses of .5 in layer 0 and 1 in layer 1: both of layer 0, or one of layer 1.
  EXPECT_DOUBLE_EQ(choice.totals.at("block_parameters"), 2 * 393'600 - 98'496 - 147'456);
  EXPECT_EQ(choice.bound, choice.totals.at("block_parameters"));
  EXPECT_DOUBLE_EQ(choice.objective, 1.0);
  EXPECT_EQ(choice.comparison, "") << "baselines answer no inverse question";
  EXPECT_THAT(choice.Report(),
              HasSubstr("least block_parameters 541248, bound 541248, gap 0 %; loss "
                        "1.000000 <= 1\n"));
  params.loss["minimize"] = "memory_mib";
  EXPECT_EQ(Find(params, {Costs(4), Costs(1)}).batch, 1) << "a smaller KV cache";
}

TEST(SearchTest, EqualLayersAreReadByEveryLoader) {
  SearchParams params = Params({{"block_parameters", "85%"}});
  params.uniform = "all";
  const Choice choice = Find(params, {Costs()});
  EXPECT_DOUBLE_EQ(choice.objective, 1.5);
  EXPECT_EQ(choice.picks[1].variant, "ffn:50%");
  EXPECT_EQ(choice.picks[3].variant, "ffn:50%");
  EXPECT_EQ(
      choice.uniform,
      "the same in all layers: 2 kv heads, 256 channels; loss 1.500000, +1 (+200.00 %) against "
      "free layers");
  EXPECT_THAT(choice.Report(), HasSubstr(choice.uniform));
  params.max = {{"block_parameters", "40%"}};  // only without an attention
  EXPECT_THROW((void)Find(params, {Costs()}), Error);
}

TEST(SearchTest, WhatResultsHadBeforeLossAndUniformCameStaysTheirKey) {
  const std::vector<NodeKind> kinds = SearchKinds();
  const NodeKind& search = kinds.front();
  ASSERT_EQ(search.name, "search");
  const ParamBinder binder(search, nullptr);
  std::vector<ParamMistake> mistakes;
  std::vector<const nlohmann::ordered_json*> given(search.params.size(), nullptr);
  const std::string before = binder.Bind(given, mistakes).keyed;
  EXPECT_EQ(before.find("loss"), std::string::npos) << before;
  EXPECT_EQ(before.find("uniform"), std::string::npos) << before;
  const nlohmann::ordered_json loss = {{"max", 0.5}}, uniform = "kv";
  given[static_cast<size_t>(binder.Find("loss"))] = &loss;
  given[static_cast<size_t>(binder.Find("uniform"))] = &uniform;
  const std::string keyed = binder.Bind(given, mistakes).keyed;
  EXPECT_TRUE(mistakes.empty());
  EXPECT_THAT(keyed, HasSubstr(R"("loss":{"max":0.5})"));
  EXPECT_THAT(keyed, HasSubstr(R"("uniform":"kv")"));
}

TEST(SearchTest, ComparesMethodsOnTheSameLimits) {
  SearchParams params = Params({{"block_parameters", "85%"}});
  params.compare = true;
  const Choice choice = Find(params, {Costs()});
  EXPECT_THAT(choice.comparison, HasSubstr("exact             0.500000       +0.00 %\n"));
  EXPECT_THAT(choice.comparison, HasSubstr("policy"));
  EXPECT_THAT(choice.Report(), HasSubstr(choice.comparison));
}

TEST(SearchTest, ARankTakesTheNextBestOfThePool) {
  SearchParams params = Params({{"block_parameters", "85%"}});
  params.pool = params.rank = 2;
  EXPECT_GE(Find(params, {Costs()}).objective, 0.5);
  params.max = {{"block_parameters", "40%"}};  // leaves one choice: everything as small as it gets
  EXPECT_THROW((void)Find(params, {Costs()}), Error);
}

TEST(SearchTest, TheBatchSizeIsPartOfTheSearch) {
  // Memory for 16 sequences leaves room for the whole parent; a throughput that only a larger batch
  // reaches costs quality elsewhere.
  DeviceModel device{"Toy", {{"bf16", 1}}, 10, 1};
  std::vector<CostTable> costs;
  for (const int64_t batch : {16, 1, 4}) {
    costs.push_back(
        CountCosts(Parent(), kVariants, 8, Serving(batch), CountingRules::kExact, device));
  }
  EXPECT_EQ(Find(Params(json::object()), costs).batch, 1);
  const Choice one = Find(Params(json::object()), {costs[1]});
  const double enough = 2 * one.totals.at("throughput");
  const Choice fast = Find(Params(json::object(), {{"throughput", enough}}), costs);
  EXPECT_EQ(fast.batch, 4);
  EXPECT_EQ(fast.objective, 0);
  EXPECT_GE(fast.totals.at("throughput"), enough);
}

TEST(SearchTest, WhatAnotherBatchSizeMayHoldIsNotProven) {
  const SearchParams params = Params({{"block_parameters", "85%"}});
  const auto find = [&](int stops) {
    int polls = 0;  // the first batch size is given up at once, the second one is solved
    return FindChild(
        params, {Costs(1), Costs(2)}, Scores(0.5), [](const auto&) {},
        [&polls, stops] { return ++polls <= stops; });
  };
  EXPECT_EQ(find(0).status, "optimal");
  EXPECT_EQ(find(0).batch, 1);
  const Choice choice = find(2);
  EXPECT_EQ(choice.batch, 2);
  EXPECT_DOUBLE_EQ(choice.objective, 0.5);
  EXPECT_EQ(choice.status, "feasible");
  EXPECT_LT(choice.bound, 0.5);
  EXPECT_DOUBLE_EQ(choice.gap, (0.5 - choice.bound) / 0.5);
}

TEST(SearchTest, NoChildExplainsItself) {
  try {
    (void)Find(Params({{"block_parameters", 10}}), {Costs(1), Costs(2)});
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(
        error.what(),
        HasSubstr("no child found: batch 1: infeasible: block_parameters <= 10 cannot be met "
                  "by any choice: the least possible is"));
  }
}

TEST(SearchTest, AVariantWithoutAScoreIsLeftOutLoudlyAndNanIsRefused) {
  std::vector<Score> scores = Scores(0.5);
  scores.erase(scores.begin());
  std::vector<std::string> warnings;
  const auto warn = [&](const std::string& w) { warnings.push_back(w); };
  (void)FindChild(Params(json::object()), {Costs(1), Costs(2)}, scores, warn, {});
  EXPECT_THAT(warnings,
              testing::ElementsAre("layer 0 attn: variant \"attn:kv1\" has no kl and is left out"));
  EXPECT_THROW((void)FindChild(Params(json::object()), {Costs()}, Scores(std::nan("")), warn, {}),
               Error);
}

}  // namespace
}  // namespace puzzle
