#include "model/recompute.h"

#include <gtest/gtest.h>

#include <vector>

#include "model/math/parallel.h"
#include "tests/model/tiny_model.h"

namespace puzzle {
namespace {

using at::Tensor;

// Every form of both sub-blocks, and a block that is not there.
ModelConfig AllFormsConfig() {
  ModelConfig config = TinyConfig();
  config.blocks = {{{SubBlockForm::kFull, 2}, {SubBlockForm::kFull, 48}},
                   {{SubBlockForm::kNone, 0}, {SubBlockForm::kFull, 24}},
                   {{SubBlockForm::kNone, 0}, {SubBlockForm::kNone, 0}},
                   {{SubBlockForm::kLinear, 0}, {SubBlockForm::kNone, 0}},
                   {{SubBlockForm::kFull, 1}, {SubBlockForm::kLinear, 0}}};
  return config;
}

// What a training computes: the loss of the states behind all blocks, which are looked at as well,
// and the gradients of all tensors.
std::vector<Tensor> LossAndGradients(const ModelWeights& weights, at::ScalarType products,
                                     bool recompute, bool fused = false) {
  const at::AutoGradMode with_gradients(true);
  ModelWeights leaves = Clone(weights);
  for (const auto& [name, slot] : Slots(leaves)) slot->requires_grad_(true);
  const Transformer model = Transformer(leaves).WithProductsIn(fused ? at::kFloat : products);
  const RoundedBlocks rounded = fused ? Rounded(model) : RoundedBlocks();
  const Tensor ids = at::arange(2 * 12, at::kLong).view({2, 12});
  Tensor x = model.Embed(ids), loss = at::zeros({});
  for (int64_t layer = 0; layer < model.config().n_layers(); ++layer) {
    x = recompute ? RecomputedBlocks(model, x, layer, layer + 1, rounded)
                  : FusedBlocks(model, rounded, x, layer, layer + 1);
    loss = loss + x.sigmoid().mean();
  }
  loss = loss + model.FinalNorm(x).cos().mean();
  loss.backward();
  std::vector<Tensor> result = {loss.detach(), x.detach()};
  for (const Tensor& leaf : Parameters(leaves)) result.push_back(leaf.grad());
  return result;
}

TEST(RecomputeTest, ValuesAndGradientsHaveTheBitsOfBlocksThatAreKept) {
  const ModelWeights weights = TinyModel(AllFormsConfig());
  const auto expect_same = [&](at::ScalarType products, bool fused) {
    const std::vector<Tensor> kept = LossAndGradients(weights, products, false, fused);
    const std::vector<Tensor> recomputed = LossAndGradients(weights, products, true, fused);
    ASSERT_EQ(kept.size(), recomputed.size());
    for (size_t i = 0; i < kept.size(); ++i) {
      ASSERT_EQ(kept[i].defined(), recomputed[i].defined()) << i;
      if (!kept[i].defined()) continue;  // of the block that is not there
      EXPECT_TRUE(kept[i].equal(recomputed[i])) << i;
    }
  };
  expect_same(at::kFloat, false);
  expect_same(at::kBFloat16, false);
  expect_same(at::kBFloat16, true);
}

TEST(RecomputeTest, SeveralBlocksAtOnceOnSeveralThreads) {
  const Transformer model(TinyModel(AllFormsConfig()));
  const int64_t layers = model.config().n_layers();
  const at::AutoGradMode with_gradients(true);
  std::vector<Tensor> kept(6), recomputed(6);
  ParallelFor(6, [&](int64_t i) {
    const auto gradient = [&](const auto& blocks) {
      const Tensor x = RandomTensor({1, 7, 32}, static_cast<uint64_t>(i)).requires_grad_(true);
      blocks(x).sin().sum().backward();
      return x.grad();
    };
    kept[i] = gradient([&](const Tensor& x) { return model.Blocks(x, 0, layers); });
    recomputed[i] =
        gradient([&](const Tensor& x) { return RecomputedBlocks(model, x, 0, layers); });
  });
  for (size_t i = 0; i < kept.size(); ++i) EXPECT_TRUE(kept[i].equal(recomputed[i])) << i;
}

TEST(RecomputeTest, WithoutGradientsItIsThePlainBlocks) {
  const at::NoGradGuard no_grad;
  const Transformer model(TinyModel(AllFormsConfig()));
  const Tensor x = RandomTensor({2, 7, 32}, 3);
  EXPECT_TENSORS_NEAR(RecomputedBlocks(model, x, 0, 5), model.Blocks(x, 0, 5), 1e-5);
}

}  // namespace
}  // namespace puzzle
