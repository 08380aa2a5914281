#include "nodes/measure/remove_blocks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "io/error.h"
#include "nodes/catalogue.h"
#include "tests/model/tiny_model.h"
#include "tests/nodes/fake_inputs.h"

namespace puzzle {
namespace {

using at::Tensor;
using testing::HasSubstr;

/// Five layers, of which the second has no attention from the start.
ModelWeights Deep() {
  ModelConfig config = TinyConfig();
  config.blocks.assign(5, config.blocks.front());
  config.blocks[1].attention = {.form = SubBlockForm::kNone};
  return TinyModel(config);
}

TokenSet SomeTokens() {
  TokenSet tokens;
  tokens.length = 12;
  tokens.vocab_size = 40;
  for (int i = 0; i < 5 * 12; ++i) tokens.ids.push_back((i * i * 7 + i * 3) % 40);
  return tokens;
}

/// By whole distributions in double precision.
double MeasuredLoss(const ModelWeights& model, const ModelWeights& parent, bool is_kl) {
  const TokenSet tokens = SomeTokens();
  const Tensor ids = tokens.Batch(0, tokens.sequences());
  const auto log_p = [&](const ModelWeights& weights) {
    return Transformer(weights).Logits(ids).narrow(1, 0, 11).to(at::kDouble).log_softmax(-1);
  };
  const Tensor own = log_p(model);
  if (!is_kl) return -own.gather(2, ids.narrow(1, 1, 11).unsqueeze(2)).mean().item<double>();
  const Tensor p = log_p(parent);
  return (p.exp() * (p - own)).sum(-1).mean().item<double>();
}

ModelWeights LessOne(const ModelWeights& model, int64_t layer, const std::string& variant) {
  ModelWeights less = model;
  const VariantSpec spec = ResolveVariant(variant, model.config, layer);
  Replace(less, layer, spec, NoWeights(WhichSubBlock(spec)));
  return less;
}

struct RemovalStep {
  int64_t layer;
  std::string variant;
  double loss;
};

/// The same by trying all that is left, each time from the start.
std::vector<RemovalStep> ByBruteForce(const ModelWeights& parent,
                                      const std::vector<std::string>& variants, bool is_kl,
                                      int64_t limit) {
  ModelWeights model = parent;
  std::vector<RemovalStep> steps;
  while (CountBlockParameters(model.config) > limit) {
    RemovalStep best{-1, "", INFINITY};
    for (int64_t layer = 0; layer < model.config.n_layers(); ++layer) {
      for (const std::string& variant : variants) {
        const ModelWeights less = LessOne(model, layer, variant);
        if (less.config == model.config) continue;  // nothing was there
        const double loss = MeasuredLoss(less, parent, is_kl);
        if (loss < best.loss) best = {layer, variant, loss};
      }
    }
    model = LessOne(model, best.layer, best.variant);
    steps.push_back(best);
  }
  return steps;
}

class RemoveBlocksTest : public testing::TestWithParam<std::tuple<bool, bool>> {};

TEST_P(RemoveBlocksTest, GoesAsTryingAllOfThemSays) {
  const at::NoGradGuard no_grad;
  const auto [whole, is_kl] = GetParam();
  const ModelWeights parent = Deep();
  const int64_t limit = CountBlockParameters(parent.config) * 3 / 10;
  const auto variants =
      whole ? std::vector<std::string>{"none"} : std::vector<std::string>{"attn:none", "ffn:none"};
  const std::vector<RemovalStep> expected = ByBruteForce(parent, variants, is_kl, limit);
  ASSERT_GE(expected.size(), 3);
  for (const int64_t batch : {2, 8}) {
    std::vector<double> progress;
    const Removals removals = RemoveBlocks(Transformer(parent), SomeTokens(),
                                           {.whole_blocks = whole,
                                            .objective = is_kl ? Metric::kKl : Metric::kNll,
                                            .block_parameters = limit,
                                            .batch = batch},
                                           [&](double fraction) { progress.push_back(fraction); });
    ASSERT_EQ(removals.order.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      const Removal& removal = removals.order[i];
      EXPECT_EQ(removal.layer, expected[i].layer) << i;
      EXPECT_EQ(removal.which, whole                                ? SubBlock::kBoth
                               : expected[i].variant == "attn:none" ? SubBlock::kAttention
                                                                    : SubBlock::kFfn);
      EXPECT_NEAR(removal.loss, expected[i].loss, 1e-4) << i;
    }
    EXPECT_LE(CountBlockParameters(removals.model.config), limit);
    EXPECT_NEAR(MeasuredLoss(removals.model, parent, is_kl), expected.back().loss, 1e-4);
    EXPECT_TRUE(std::is_sorted(progress.begin(), progress.end()));
    EXPECT_LE(progress.back(), 1 + 1e-9);
  }
}

INSTANTIATE_TEST_SUITE_P(All, RemoveBlocksTest, testing::Combine(testing::Bool(), testing::Bool()));

TEST(RemovalOrderTest, ScoresAreTakenAgainAfterARemoval) {
  const at::NoGradGuard no_grad;
  const ModelWeights parent = Deep();
  // What goes second is not what would have been second in the parent, whose order is this.
  std::vector<std::pair<double, int64_t>> once;
  for (int64_t layer = 0; layer < 5; ++layer)
    once.emplace_back(MeasuredLoss(LessOne(parent, layer, "none"), parent, false), layer);
  std::sort(once.begin(), once.end());
  const Removals removals =
      RemoveBlocks(Transformer(parent), SomeTokens(), {.block_parameters = 0}, [](double) {});
  ASSERT_EQ(removals.order.size(), 5);
  EXPECT_EQ(removals.order[0].layer, once[0].second);
  std::vector<int64_t> order, sorted_once;
  for (const Removal& removal : removals.order) order.push_back(removal.layer);
  for (const auto& [loss, layer] : once) sorted_once.push_back(layer);
  EXPECT_NE(order, sorted_once);
}

RemoveBlocksParams Keeping(const std::string& part) {
  RemoveBlocksParams params;
  params.block_parameters = part;
  return params;
}

TEST(RunRemoveBlocksTest, TheChildKeepsTheParentsWeightsAndSaysWhatWent) {
  Checkpoint parent;
  parent.model = Deep();
  parent.figures["loss"] = 1;
  FakeInputs inputs;
  inputs.Add("parent", "p", parent).Add("tokens", "t", SomeTokens());
  FakeContext context;
  Checkpoint child = RunRemoveBlocks(Keeping("80%"), inputs, context);
  ASSERT_EQ(child.figures.size(), 1);
  const auto& [name, loss] = *child.figures.begin();
  EXPECT_THAT(name, testing::StartsWith("removed_001_block_"));
  EXPECT_NEAR(loss, MeasuredLoss(child.model, parent.model, false), 1e-4);
  EXPECT_EQ(child.model.embedding.data_ptr(), parent.model.embedding.data_ptr());
  EXPECT_TRUE(RunRemoveBlocks(Keeping("100%"), inputs, context).figures.empty());
  EXPECT_EQ(CountBlockParameters(RunRemoveBlocks(Keeping("0%"), inputs, context).model.config), 0);
}

TEST(RunRemoveBlocksTest, WhatIsNotFiniteOrDoesNotFitIsSaid) {
  Checkpoint parent;
  parent.model = Deep();
  parent.model.blocks[2].ffn.down = at::full_like(parent.model.blocks[2].ffn.down, NAN);
  FakeInputs inputs;
  inputs.Add("parent", "p", parent).Add("tokens", "t", SomeTokens());
  FakeContext context;
  const auto error_of = [&](const FakeInputs& in) -> std::string {
    try {
      (void)RunRemoveBlocks(Keeping("80%"), in, context);
    } catch (const Error& e) {
      return e.what();
    }
    return {};
  };
  EXPECT_THAT(error_of(inputs), HasSubstr("the answers of the model without block 0"));
  TokenSet other = SomeTokens();
  other.ids[3] = 40;
  FakeInputs foreign;
  foreign.Add("parent", "p", parent).Add("tokens", "t", other);
  EXPECT_THAT(error_of(foreign), HasSubstr("40"));
}

TEST(RunRemoveBlocksTest, PercentagesAreCheckedBeforeARun) {
  const std::vector<NodeKind> kinds = PuzzleKinds();
  const auto kind = std::find_if(kinds.begin(), kinds.end(),
                                 [](const NodeKind& k) { return k.name == "remove_blocks"; });
  ASSERT_NE(kind, kinds.end());
  for (const char* wrong : {"", "80", "-1%", "101%", "x%", "nan%"}) {
    const RemoveBlocksParams params = Keeping(wrong);
    EXPECT_THAT(kind->check(&params).value_or(""), HasSubstr("expected a percentage up to 100"))
        << wrong;
  }
  const RemoveBlocksParams params = Keeping("62.5%");
  EXPECT_EQ(kind->check(&params), std::nullopt);
}

}  // namespace
}  // namespace puzzle
