// Bisections against brute force: every choice of a small table, and a loss that is known.
#include "nodes/search/bisect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "io/error.h"
#include "io/hdf5_archive.h"
#include "nodes/cost/cost.h"
#include "tests/io/temp_folder.h"
#include "tests/io/test_files.h"
#include "tests/nodes/token_metrics.h"

namespace puzzle {
namespace {

using testing::HasSubstr;

constexpr int64_t kLayersToBisect = 3;
const std::vector<std::string> kVariantsToBisect = {"attn:kv1", "attn:none", "ffn:75%", "ffn:50%",
                                                    "ffn:none"};

ModelConfig ParentToBisect() {
  ModelConfig config;
  config.vocab_size = 4096;
  config.hidden_size = 192;
  config.n_heads = 6;
  config.head_dim = 32;
  config.max_positions = 512;
  config.tied_embeddings = true;
  config.blocks.assign(kLayersToBisect, {{SubBlockForm::kFull, 2}, {SubBlockForm::kFull, 512}});
  return config;
}

std::vector<Score> ScoresToBisect() {
  std::vector<Score> scores;
  double damage = 0.03;
  for (int64_t layer = 0; layer < kLayersToBisect; ++layer) {
    for (const std::string& variant : kVariantsToBisect) {
      Score score;
      score.layer = layer;
      score.variant = variant;
      score.spec = ResolveVariant(variant, ParentToBisect(), layer);
      score.increase = MetricsWith(Metric::kKl, damage);
      scores.push_back(score);
      damage = std::fmod(damage * 1.7, 0.4) + 0.01;
    }
  }
  return scores;
}

class BisectTest : public testing::Test {
 protected:
  BisectTest() : costs_(CountCosts(ParentToBisect(), kVariantsToBisect, 8, {})) {
    params_.loss = {{"kl", 0.25}};
    params_.from = "10%";
  }

  // What a child of this many block parameters is said to lose: less the larger it is.
  double Loss(double size) const { return 1 - size / costs_.parent_total[0]; }

  Evaluation Measured(const Choice& choice) const {
    Evaluation evaluation;
    evaluation.label = "child";
    evaluation.has_kl = true;
    evaluation.predicted = choice.objective;
    const double size = choice.totals.at("block_parameters");
    evaluation.block_parameters = static_cast<int64_t>(size);
    evaluation.metrics = MetricsWith(Metric::kKl, Loss(size));
    return evaluation;
  }

  Choice Next(const MeasuredChild* before, const Evaluation* parent = nullptr) const {
    return NextToMeasure(params_, costs_, ScoresToBisect(), before, parent, [](const auto&) {}, {});
  }

  // The sizes of all children.
  std::set<double> AllSizes() const {
    std::set<double> sizes = {0};
    for (int64_t layer = 0; layer < kLayersToBisect; ++layer) {
      for (const SubBlock which : {SubBlock::kAttention, SubBlock::kFfn}) {
        std::set<double> more;
        for (const CostTable::Row& row : costs_.rows)
          if (row.layer == layer && WhichSubBlock(row.spec) == which)
            for (const double size : sizes) more.insert(size + row.costs[0]);
        sizes = more;
      }
    }
    std::set<double> totals;
    for (const double size : sizes) totals.insert(size + costs_.fixed[0]);
    return totals;
  }

  CostTable costs_;
  BisectParams params_;
};

TEST_F(BisectTest, RoundsEndAtTheSmallestChildThatBruteForceFinds) {
  for (const double most : {0.02, 0.1, 0.25, 0.5, 0.8}) {
    params_.loss = {{"kl", most}};
    double smallest = costs_.parent_total[0];
    for (const double size : AllSizes())
      if (Loss(size) <= most) smallest = std::min(smallest, size);
    MeasuredChild before{Next(nullptr), {}};
    double answer = costs_.parent_total[0];
    int rounds = 1;
    for (; rounds < 40; ++rounds) {
      const double size = before.choice.totals.at("block_parameters");
      if (Loss(size) <= most) answer = std::min(answer, size);
      before.evaluation = Measured(before.choice);
      Choice next = Next(&before);
      const bool is_over = next.totals == before.choice.totals;
      before.choice = std::move(next);
      if (is_over) break;
    }
    EXPECT_EQ(answer, smallest) << most;
    EXPECT_LT(rounds, 40) << most;
    // Whatever comes behind repeats it.
    const Choice again = Next(&before);
    EXPECT_EQ(again.totals, before.choice.totals);
    EXPECT_EQ(again.bracket->keeps, before.choice.bracket->keeps);
  }
}

TEST_F(BisectTest, EveryRoundHalvesWhatIsLeft) {
  const double total = costs_.parent_total[0];
  MeasuredChild before{Next(nullptr), {}};
  EXPECT_LE(before.choice.totals.at("block_parameters"), 0.55 * total);
  EXPECT_DOUBLE_EQ(before.choice.bracket->fails, 0.1 * total);
  EXPECT_DOUBLE_EQ(before.choice.bracket->keeps, total);
  before.evaluation = Measured(before.choice);
  const Choice second = Next(&before);
  EXPECT_EQ(second.bracket->fails, before.choice.totals.at("block_parameters"));
  EXPECT_GT(second.totals.at("block_parameters"), second.bracket->fails);
  EXPECT_LE(second.totals.at("block_parameters"), (second.bracket->fails + total) / 2 + 1);
}

TEST_F(BisectTest, TheSizeMayBeMemory) {
  params_.resource = "memory_mib";
  const Choice choice = Next(nullptr);
  EXPECT_EQ(choice.bracket->resource, "memory_mib");
  EXPECT_LT(choice.totals.at("memory_mib"), choice.bracket->keeps);
  MeasuredChild before{choice, Measured(choice)};
  params_.resource = "parameters";
  EXPECT_THAT(ErrorOf([&] { (void)Next(&before); }),
              HasSubstr("no choice of a bisect of parameters"));
  params_.resource = "wheels";
  EXPECT_THAT(ErrorOf([&] { (void)Next(nullptr); }), HasSubstr("the costs have no \"wheels\""));
}

TEST_F(BisectTest, TaskAccuracyIsComparedWithTheParents) {
  params_.loss = {{"task_accuracy", "10%"}};
  MeasuredChild before{Next(nullptr), {}};
  before.evaluation = Measured(before.choice);
  const auto asked = [](double accuracy) {
    return std::vector<TaskResult>{
        {"copa", 100, 0, {{"acc", accuracy}, {"stderr", 0.05}}, "acc", {}}};
  };
  Evaluation parent;
  parent.label = "parent";
  parent.tasks = asked(0.5);
  before.evaluation.tasks = asked(0.46);
  EXPECT_EQ(Next(&before, &parent).bracket->keeps, before.choice.totals.at("block_parameters"));
  before.evaluation.tasks = asked(0.44);
  EXPECT_EQ(Next(&before, &parent).bracket->fails, before.choice.totals.at("block_parameters"));
  EXPECT_THAT(ErrorOf([&] { (void)Next(&before); }),
              HasSubstr("connect the evaluation of the parent"));
  parent.tasks[0].n = 50;
  EXPECT_THAT(ErrorOf([&] { (void)Next(&before, &parent); }),
              HasSubstr("not asked the same tasks"));
}

TEST_F(BisectTest, AnEvaluationOfAnotherChildIsRefused) {
  MeasuredChild before{Next(nullptr), {}};
  before.evaluation = Measured(before.choice);
  before.evaluation.block_parameters += 8;
  EXPECT_THAT(ErrorOf([&] { (void)Next(&before); }), HasSubstr("not of the child"));
  before.evaluation = Measured(before.choice);
  *before.evaluation.predicted += 0.001;
  EXPECT_THAT(ErrorOf([&] { (void)Next(&before); }), HasSubstr("not of the child"));
}

TEST_F(BisectTest, TheBracketSurvivesTheStore) {
  const TempFolder folder;
  const Choice choice = Next(nullptr);
  auto archive = Hdf5Format().create(folder / "choice.h5");
  choice.Save(*archive);
  archive->Close();
  const Choice loaded = Choice::Load(Hdf5Format().open(folder / "choice.h5"));
  ASSERT_TRUE(loaded.bracket.has_value());
  EXPECT_EQ(loaded.bracket->resource, "block_parameters");
  EXPECT_EQ(loaded.bracket->fails, choice.bracket->fails);
  EXPECT_EQ(loaded.bracket->keeps, choice.bracket->keeps);
}

}  // namespace
}  // namespace puzzle
