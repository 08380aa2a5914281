// Gradients on the way they are computed in training: folded norms, parts, pieces.
#include "model/trainable.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <string>

#include "model/math/losses.h"
#include "model/math/parallel.h"
#include "model/math/runtime.h"
#include "model/surgery.h"
#include "tests/model/tiny_model.h"

namespace puzzle {
namespace {

using at::Tensor;

/// "attn_kv1_ffn_50" for "attn:kv1+ffn:50%": how ctest calls a case.
std::string Name(std::string variant) {
  if (variant.back() == '%') variant.pop_back();
  std::replace_if(
      variant.begin(), variant.end(), [](unsigned char c) { return std::ispunct(c) != 0; }, '_');
  return variant;
}

class TrainableTest : public testing::TestWithParam<const char*> {
 protected:
  TrainableTest()
      : parent_(TinyModel()),
        spec_(ResolveVariant(GetParam(), parent_.config(), 1)),
        weights_(InitVariant(parent_.weights(), 1, spec_)),
        input_(RandomTensor({6, 12, 32}, 1)),
        target_(RandomTensor({6, 12, 32}, 2)),
        weight_(target_.square().sum().reciprocal().unsqueeze(0)) {
    for (const auto& [name, slot] : Slots(weights_, spec_))
      if (name.ends_with("layernorm.weight")) slot->add_(RandomTensor({32}, 3), 0.1);
    for (Tensor& parameter : parameters()) parameter.requires_grad_(true);
  }

  std::vector<Tensor> parameters() const { return Parameters(weights_, spec_); }

  // Through plain autograd and the norm's own multiplication.
  Tensor PlainLoss() const {
    return WeightedSquaredError(
        SubBlockOutput(weights_, spec_, parent_.config(), parent_.rotary(), input_), target_,
        weight_);
  }

  Transformer parent_;
  VariantSpec spec_;
  SubBlockWeights weights_;
  Tensor input_, target_, weight_;
};

TEST_P(TrainableTest, GradientsAgreeWithPlainAutograd) {
  const Trainable trainable =
      TrainableSubBlock(weights_, spec_, parent_.config(), parent_.rotary());
  const std::vector<Tensor> prepared = trainable.prepare();
  const Tensor plain = PlainLoss();
  const auto expected = torch::autograd::grad({plain}, parameters());
  for (int64_t piece_rows : {1, 2, 100}) {
    for (int threads : {1, 2}) {
      const ThreadsGuard guard(threads);
      GradientParts parts(prepared, piece_rows);
      const double loss =
          parts.Backward({0, 1, 2, 3, 4, 5}, [&](int64_t part, const std::vector<int64_t>& rows) {
            const Tensor index = at::tensor(at::ArrayRef<int64_t>(rows), at::kLong);
            return WeightedSquaredError(
                trainable.output(parts.Leaves(part), input_.index_select(0, index)),
                target_.index_select(0, index), weight_);
          });
      EXPECT_NEAR(loss, plain.item<double>(), 1e-5 * loss);
      const auto actual =
          torch::autograd::grad(prepared, trainable.parameters, parts.Gradients(), true);
      ASSERT_EQ(actual.size(), expected.size());
      for (size_t i = 0; i < actual.size(); ++i)
        EXPECT_TENSORS_NEAR(actual[i], expected[i],
                            1e-5 * (expected[i].abs().max().item<double>() + 1));
    }
  }
}

TEST_P(TrainableTest, Bf16ComesCloseToFp32ForwardAndBackward) {
  if (!HasFastBf16("cpu")) GTEST_SKIP() << "bf16 products are not fast on this CPU";
  const Trainable trainable =
      TrainableSubBlock(weights_, spec_, parent_.config(), parent_.rotary());
  const Tensor direction = RandomTensor({6, 12, 32}, 4);
  auto results = [&](at::ScalarType type) {
    const Tensor output = trainable.output(trainable.prepare(), input_.to(type));
    std::vector<Tensor> all = torch::autograd::grad({(output * direction).sum()}, parameters());
    all.push_back(output.detach());
    return all;
  };
  const auto exact = results(at::kFloat), rough = results(at::kBFloat16);
  for (size_t i = 0; i < exact.size(); ++i) {
    ASSERT_EQ(rough[i].scalar_type(), at::kFloat);
    EXPECT_LT((rough[i] - exact[i]).norm().item<double>(), 0.02 * exact[i].norm().item<double>());
  }
}

TEST_P(TrainableTest, GradientsAgreeWithFiniteDifferences) {
  const auto gradients = torch::autograd::grad({PlainLoss()}, parameters());
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < gradients.size(); ++i) {
    const Tensor direction = RandomTensor(gradients[i].sizes().vec(), 10 + i);
    const Tensor parameter = parameters()[i];
    constexpr double kStep = 1e-2;
    parameter.add_(direction, kStep);
    const double above = PlainLoss().item<double>();
    parameter.add_(direction, -2 * kStep);
    const double below = PlainLoss().item<double>();
    parameter.add_(direction, kStep);
    const double slope = (gradients[i] * direction).sum().item<double>();
    EXPECT_NEAR((above - below) / (2 * kStep), slope, 0.02 * std::abs(slope) + 1e-3);
  }
}

// A part that leaves a parameter out has its turn at it all the same: else the next one waits for
// ever.
TEST(GradientPartsTest, PartsMayLeaveParametersOut) {
  const std::vector<Tensor> parameters = {at::zeros({2}), at::zeros({3})};
  for (const int threads : {1, 3}) {
    const ThreadsGuard guard(threads);
    GradientParts parts(parameters, 4);
    std::vector<Tensor> sums = {at::zeros({2}), at::zeros({3})};
    const double loss = parts.AddGradients(
        {0, 1, 2, 3},
        [&](int64_t part, const std::vector<int64_t>& rows) {
          Tensor value = at::zeros({});
          for (const int64_t row : rows)
            value = value + static_cast<double>(row + 1) *
                                (parts.Leaves(part)[static_cast<size_t>(row % 2)].sum() + 1);
          return value;
        },
        sums);
    EXPECT_EQ(loss, 1 + 2 + 3 + 4);
    EXPECT_TRUE(sums[0].equal(at::full({2}, 1.0F + 3.0F)));
    EXPECT_TRUE(sums[1].equal(at::full({3}, 2.0F + 4.0F)));
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, TrainableTest,
                         testing::Values("attn:kv2", "attn:kv1", "attn:linear", "ffn:50%",
                                         "ffn:linear", "attn:kv1+ffn:50%", "attn:none+ffn:25%",
                                         "attn:linear+ffn:none"),
                         [](const auto& info) { return Name(info.param); });

}  // namespace
}  // namespace puzzle
