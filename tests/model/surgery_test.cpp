#include "model/surgery.h"

#include <gtest/gtest.h>

#include <utility>

#include "model/math/runtime.h"
#include "model/refit.h"
#include "model/transformer.h"
#include "tests/model/tiny_model.h"

namespace puzzle {
namespace {

using at::Tensor;

TEST(SurgeryTest, AtTheParentsOwnShapeNothingChanges) {
  const ModelWeights parent = TinyModel();
  const SurgeryHints hints{SortChannels(parent.blocks[1].ffn, at::arange(47, -1, -1, at::kLong)),
                           KvMerge::kFirst};
  for (const char* name : {"attn:kv2", "ffn:100%", "ffn:48", "attn:kv2+ffn:48"}) {
    const VariantSpec spec = ResolveVariant(name, parent.config, 1);
    const SubBlockWeights own = SubBlockOf(parent, 1, WhichSubBlock(spec));
    const std::vector<Tensor> made = Parameters(InitVariant(parent, 1, spec, hints), spec);
    const std::vector<Tensor> expected = Parameters(own, spec);
    ASSERT_EQ(made.size(), expected.size());
    for (size_t i = 0; i < made.size(); ++i) {
      EXPECT_TRUE(made[i].equal(expected[i])) << name;
      EXPECT_NE(made[i].data_ptr(), expected[i].data_ptr()) << "storage must be fresh";
    }
  }
}

TEST(SurgeryTest, KeepsTheMostImportantChannelsOfOneSortedCopy) {
  const ModelWeights parent = TinyModel();
  const FfnWeights& ffn = parent.blocks[0].ffn;
  const Tensor order = at::randperm(48, at::kLong);
  const SurgeryHints hints{SortChannels(ffn, order)};
  for (int64_t size : {8, 16, 47}) {
    const auto made =
        std::get<FfnWeights>(InitVariant(parent, 0, FfnSpec{SubBlockForm::kFull, size}, hints));
    ASSERT_EQ(made.down.size(1), size);
    EXPECT_TRUE(made.down.is_contiguous());
    for (int64_t i = 0; i < size; ++i) {
      const int64_t channel = order[i].item<int64_t>();
      EXPECT_TRUE(made.gate[i].equal(ffn.gate[channel]));
      EXPECT_TRUE(made.up[i].equal(ffn.up[channel]));
      EXPECT_TRUE(made.down.select(1, i).equal(ffn.down.select(1, channel)));
    }
  }
}

TEST(SurgeryTest, WithoutAnOrderTheFirstChannelsStay) {
  const ModelWeights parent = TinyModel();
  const auto made = std::get<FfnWeights>(InitVariant(parent, 0, FfnSpec{SubBlockForm::kFull, 16}));
  EXPECT_TRUE(made.up.equal(parent.blocks[0].ffn.up.narrow(0, 0, 16)));
}

TEST(SurgeryTest, KvHeadsAreAveragedOrTheFirstOfEachRunIsKept) {
  const ModelWeights parent = TinyModel();
  const Tensor& k = parent.blocks[0].attention.k;
  const VariantSpec merged = AttentionSpec{SubBlockForm::kFull, 1};
  auto made = [&](KvMerge how) {
    return std::get<AttentionWeights>(InitVariant(parent, 0, merged, {.kv_merge = how})).k;
  };
  EXPECT_TRUE(made(KvMerge::kFirst).equal(k.narrow(0, 0, 8)));
  EXPECT_TENSORS_NEAR(made(KvMerge::kAverage), (k.narrow(0, 0, 8) + k.narrow(0, 8, 8)) / 2, 1e-6);
}

TEST(SurgeryTest, EqualKvHeadsMergeWithoutLoss) {
  const at::NoGradGuard no_grad;
  ModelWeights parent = TinyModel();
  AttentionWeights& attention = parent.blocks[0].attention;
  attention.k.narrow(0, 8, 8).copy_(attention.k.narrow(0, 0, 8));
  attention.v.narrow(0, 8, 8).copy_(attention.v.narrow(0, 0, 8));
  const VariantSpec merged = AttentionSpec{SubBlockForm::kFull, 1};
  const RotaryTable rotary(parent.config.rope, 8, 64, at::kCPU);
  const Tensor x = RandomTensor({2, 10, 32}, 1);
  const Tensor expected =
      ApplySubBlock(attention, AttentionSpec{SubBlockForm::kFull, 2}, parent.config, rotary, x);
  const Tensor actual =
      ApplySubBlock(InitVariant(parent, 0, merged), merged, parent.config, rotary, x);
  EXPECT_TENSORS_NEAR(actual, expected, 1e-4);
}

TEST(SurgeryTest, PruningAKvHeadTakesItsQueryHeadsAndTheirColumnsAway) {
  const at::NoGradGuard no_grad;
  const ModelWeights parent = TinyModel();
  AttentionWeights attention = parent.blocks[0].attention;
  const VariantSpec pruned = ResolveVariant("attn:kv1q2", parent.config, 0);
  const auto made = std::get<AttentionWeights>(
      InitVariant(parent, 0, pruned, {.head_scores = at::tensor({0.5, 2.0})}));
  EXPECT_EQ(made.q.sizes().vec(), (Shape{16, 32}));
  EXPECT_EQ(made.o.sizes().vec(), (Shape{32, 16}));
  // What is left of the parent when the first kv head's group says nothing.
  attention.o = attention.o.clone();
  attention.o.narrow(1, 0, 16).zero_();
  const RotaryTable rotary(parent.config.rope, 8, 64, at::kCPU);
  const Tensor x = RandomTensor({2, 10, 32}, 1);
  EXPECT_TENSORS_NEAR(
      ApplySubBlock(made, pruned, parent.config, rotary, x),
      ApplySubBlock(attention, parent.config.blocks[0].attention, parent.config, rotary, x), 1e-4);
  EXPECT_EQ(CountParameters(pruned, parent.config), 32 + 2 * 32 * 8 * (2 + 1));
}

TEST(SurgeryTest, WithoutScoresTheFirstKvHeadsStay) {
  const ModelWeights parent = TinyModel();
  const VariantSpec pruned = ResolveVariant("attn:kv1q2", parent.config, 0);
  const auto made = std::get<AttentionWeights>(InitVariant(parent, 0, pruned));
  EXPECT_TRUE(made.q.equal(parent.blocks[0].attention.q.narrow(0, 0, 16)));
  EXPECT_TRUE(made.v.equal(parent.blocks[0].attention.v.narrow(0, 0, 8)));
}

TEST(RefitTest, AgreesWithADenseSolveInDoublePrecision) {
  const Tensor x = RandomTensor({500, 12}, 1), y = RandomTensor({500, 5}, 2);
  RidgeFit fit(12, 5);
  fit.Add(x.narrow(0, 0, 200), y.narrow(0, 0, 200));
  fit.Add(x.narrow(0, 200, 300), y.narrow(0, 200, 300));
  const Tensor xd = x.to(at::kDouble), yd = y.to(at::kDouble);
  const Tensor gram = at::mm(xd.t(), xd);
  const double ridge = 0.01 * gram.diagonal().mean().item<double>();
  // The same problem as a taller least-squares problem, solved without normal equations.
  const Tensor tall = at::cat({xd, std::sqrt(ridge) * at::eye(12, at::kDouble)});
  const Tensor target = at::cat({yd, at::zeros({12, 5}, at::kDouble)});
  const Tensor expected = std::get<0>(at::linalg_lstsq(tall, target)).t();
  EXPECT_TENSORS_NEAR(fit.Solve(0.01).to(at::kDouble), expected, 1e-5);
}

// On several threads to the same bits.
TEST(RefitTest, ManyFeaturesAgreeWithADenseSolveInDoublePrecision) {
  const Tensor x = RandomTensor({900, 600}, 1), y = RandomTensor({900, 7}, 2);
  const auto solved = [&](int threads) {
    const ThreadsGuard some(threads);
    RidgeFit fit(600, 7);
    fit.Add(x.narrow(0, 0, 200), y.narrow(0, 0, 200));
    fit.Add(x.narrow(0, 200, 700), y.narrow(0, 200, 700));
    return std::pair(fit.Solve(0.01), fit.SolveAffine(0.01).matrix);
  };
  const auto [matrix, affine] = solved(1);
  const Tensor xd = x.to(at::kDouble), yd = y.to(at::kDouble);
  const auto expected = [&](const Tensor& features, const Tensor& targets) {
    const Tensor gram = at::mm(features.t(), features);
    const Tensor ridge = 0.01 * gram.diagonal().mean().item<double>() * at::eye(600, at::kDouble);
    return at::linalg_solve(gram + ridge, at::mm(features.t(), targets)).t();
  };
  EXPECT_TENSORS_NEAR(matrix.to(at::kDouble), expected(xd, yd), 1e-5);
  EXPECT_TENSORS_NEAR(affine.to(at::kDouble), expected(xd - xd.mean(0), yd - yd.mean(0)), 1e-5);
  const auto [matrix_of_three, affine_of_three] = solved(3);
  EXPECT_TRUE(matrix.equal(matrix_of_three));
  EXPECT_TRUE(affine.equal(affine_of_three));
}

TEST(RefitTest, ABiasAgreesWithADenseSolveInDoublePrecision) {
  const Tensor x = RandomTensor({500, 12}, 1) + 1, y = RandomTensor({500, 5}, 2) - 2;
  RidgeFit fit(12, 5);
  fit.Add(x.narrow(0, 0, 200), y.narrow(0, 0, 200));
  fit.Add(x.narrow(0, 200, 300), y.narrow(0, 200, 300));
  const Tensor xd = x.to(at::kDouble), yd = y.to(at::kDouble);
  const double ridge =
      0.01 * (xd - xd.mean(0)).square().sum(0).mean().item<double>();  // of what deviates
  const Tensor damped =
      at::cat({std::sqrt(ridge) * at::eye(12, at::kDouble), at::zeros({12, 1}, at::kDouble)},
              1);  // all but the bias
  const Tensor tall = at::cat({at::cat({xd, at::ones({500, 1}, at::kDouble)}, 1), damped});
  const Tensor target = at::cat({yd, at::zeros({12, 5}, at::kDouble)});
  const Tensor expected = std::get<0>(at::linalg_lstsq(tall, target)).t();
  const RidgeFit::Affine affine = fit.SolveAffine(0.01);
  EXPECT_TENSORS_NEAR(affine.matrix.to(at::kDouble), expected.narrow(1, 0, 12), 1e-5);
  EXPECT_TENSORS_NEAR(affine.bias.to(at::kDouble), expected.select(1, 12), 1e-5);
}

// Of a sub-block whose matrices are zeros, as dense files have it in the place of none.
TEST(RefitTest, FeaturesThatAreNothingGetNoWeights) {
  const Tensor x = at::zeros({20, 12}), y = RandomTensor({20, 5}, 2);
  RidgeFit fit(12, 5);
  fit.Add(x, y);
  EXPECT_TRUE(fit.Solve().equal(at::zeros({5, 12})));
  const RidgeFit::Affine affine = fit.SolveAffine();
  EXPECT_TRUE(affine.matrix.equal(at::zeros({5, 12})));
  EXPECT_TENSORS_NEAR(affine.bias, y.mean(0), 1e-6);
}

}  // namespace
}  // namespace puzzle
