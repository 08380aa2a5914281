#include "model/math/ops.h"

#include <gtest/gtest.h>

#include "io/error.h"
#include "tests/model/tiny_model.h"

namespace puzzle {
namespace {

using at::Tensor;
using torch::autograd::grad;

Tensor Leaf(const Shape& shape, uint64_t seed) {
  return RandomTensor(shape, seed).requires_grad_(true);
}

TEST(OpsTest, RmsNormAgreesWithPlainOperatorsForwardAndBackward) {
  const Tensor x = Leaf({3, 5, 16}, 1), weight = Leaf({16}, 2), g = RandomTensor({3, 5, 16}, 3);
  const Tensor reference = x * (x.square().mean(-1, true) + 1e-5).rsqrt() * weight;
  const Tensor y = RmsNorm(x, weight, 1e-5);
  EXPECT_TENSORS_NEAR(y, reference, 1e-6);
  const auto expected = grad({(reference * g).sum()}, {x, weight});
  const auto actual = grad({(y * g).sum()}, {x, weight});
  EXPECT_TENSORS_NEAR(actual[0], expected[0], 1e-5);
  EXPECT_TENSORS_NEAR(actual[1], expected[1], 1e-5);
}

TEST(OpsTest, SwiGluAgreesWithPlainOperatorsForwardAndBackward) {
  const Tensor gate = Leaf({7, 9}, 1), up = Leaf({7, 9}, 2), g = RandomTensor({7, 9}, 3);
  const Tensor reference = gate * gate.sigmoid() * up;
  const Tensor y = SwiGlu(gate, up);
  EXPECT_TENSORS_NEAR(y, reference, 1e-6);
  const auto expected = grad({(reference * g).sum()}, {gate, up});
  const auto actual = grad({(y * g).sum()}, {gate, up});
  EXPECT_TENSORS_NEAR(actual[0], expected[0], 1e-6);
  EXPECT_TENSORS_NEAR(actual[1], expected[1], 1e-6);
}

TEST(OpsTest, RotationTurnsPairsAndItsBackwardTurnsBack) {
  const RopeConfig rope;
  const RotaryTable table(rope, 8, 32, at::kCPU);
  const Tensor x = Leaf({2, 10, 3, 8}, 1), g = RandomTensor({2, 10, 3, 8}, 2);
  // Hugging Face's apply_rotary_pos_emb: x * cos + rotate_half(x) * sin.
  const Tensor angles = at::outer(at::arange(3, 13, at::kDouble),
                                  at::tensor(rope.InverseFrequencies(8), at::kDouble));
  const Tensor cos = at::cat({angles, angles}, 1).cos().to(at::kFloat).unsqueeze(1);
  const Tensor sin = at::cat({angles, angles}, 1).sin().to(at::kFloat).unsqueeze(1);
  const Tensor half = at::cat({-x.narrow(-1, 4, 4), x.narrow(-1, 0, 4)}, -1);
  const Tensor reference = x * cos + half * sin;
  const Tensor y = Rotate(x, table, 3);
  EXPECT_TENSORS_NEAR(y, reference, 1e-6);
  EXPECT_TENSORS_NEAR(grad({(y * g).sum()}, {x})[0], grad({(reference * g).sum()}, {x})[0], 1e-6);
  EXPECT_NEAR(y.norm().item<double>(), x.norm().item<double>(), 1e-4);
}

TEST(OpsTest, TheTableGrowsWithItsUseAndStaysTheSame) {
  const RopeConfig rope;
  const RotaryTable grown(rope, 8, int64_t{1} << 40, at::kCPU), whole(rope, 8, 300, at::kCPU);
  const RotaryTable::Rows all = whole.At(0, 300);
  for (const int64_t first : {int64_t{0}, int64_t{3}, int64_t{63}, int64_t{200}}) {
    const RotaryTable::Rows rows = grown.At(first, 70);
    EXPECT_TRUE(rows.cos.equal(all.cos.narrow(0, first, 70))) << first;
    EXPECT_TRUE(rows.sin.equal(all.sin.narrow(0, first, 70))) << first;
  }
  EXPECT_THROW((void)whole.At(299, 2), Error);
  EXPECT_NO_THROW((void)whole.At(299, 1));
}

TEST(OpsTest, OnlyTheFirstDimensionsTurnWhereTheConfigSaysSo) {
  const RopeConfig part{.dims = 4}, all{};
  const Tensor x = RandomTensor({1, 5, 2, 8}, 1);
  const Tensor y = Rotate(x, RotaryTable(part, 8, 32, at::kCPU));
  EXPECT_TRUE(y.narrow(-1, 4, 4).equal(x.narrow(-1, 4, 4)));
  EXPECT_TRUE(y.narrow(-1, 0, 4).equal(
      Rotate(x.narrow(-1, 0, 4).contiguous(), RotaryTable(all, 4, 32, at::kCPU))));
}

}  // namespace
}  // namespace puzzle
