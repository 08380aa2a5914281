// The tiled attention against plain operators, forward and backward.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "model/math/compat.h"
#include "model/math/ops.h"
#include "tests/model/tiny_model.h"

namespace puzzle {
namespace {

using at::Tensor;

struct Shapes {
  int64_t batch, seq, keys, heads, kv_heads, dim;
  int64_t window = 0;
  double scale = 0.5;
  double cap = 0;
};

/// "b2_q150_k180_h2_kv1_d8_window70": how ctest calls a case.
std::string Name(const Shapes& s) {
  const std::string name =
      fmt::format("b{}_q{}_k{}_h{}_kv{}_d{}", s.batch, s.seq, s.keys, s.heads, s.kv_heads, s.dim);
  return name + (s.window > 0 ? fmt::format("_window{}", s.window) : "") +
         (s.cap > 0 ? "_capped" : "");
}

class AttentionTest : public testing::TestWithParam<Shapes> {};

TEST_P(AttentionTest, AgreesWithPlainOperatorsForwardAndBackward) {
  const Shapes s = GetParam();
  auto make = [&](const Shape& shape, uint64_t seed) {
    return RandomTensor(shape, seed).requires_grad_(true);
  };
  const Tensor q = make({s.batch, s.seq, s.heads, s.dim}, 1);
  const Tensor k = make({s.batch, s.keys, s.kv_heads, s.dim}, 2);
  const Tensor v = make({s.batch, s.keys, s.kv_heads, s.dim}, 3);
  const Tensor weight = RandomTensor({s.batch, s.seq, s.heads, s.dim}, 4);

  const Tensor reference = DeviceAttention(q, k, v, s.window, {s.scale, s.cap});
  const auto expected = torch::autograd::grad({(reference * weight).sum()}, {q, k, v});
  const Tensor out = CausalAttention(q, k, v, s.window, {s.scale, s.cap});
  const auto actual = torch::autograd::grad({(out * weight).sum()}, {q, k, v});

  EXPECT_TENSORS_NEAR(out, reference, 2e-5);
  for (size_t i = 0; i < 3; ++i) EXPECT_TENSORS_NEAR(actual[i], expected[i], 1e-4);
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, AttentionTest,
    testing::Values(Shapes{1, 5, 5, 1, 1, 4}, Shapes{2, 128, 128, 4, 2, 8},
                    Shapes{2, 300, 300, 6, 2, 16}, Shapes{1, 129, 129, 3, 3, 8},
                    Shapes{2, 1, 17, 4, 2, 8},  // one query behind a cache
                    Shapes{1, 140, 200, 4, 1, 8}, Shapes{1, 200, 200, 4, 2, 8, 3, 1.0},
                    Shapes{2, 150, 180, 2, 1, 8, 70}, Shapes{2, 150, 180, 2, 1, 8, 0, 0.5, 1.5},
                    Shapes{1, 200, 200, 4, 2, 8, 3, 1.0, 2.0}),
    [](const auto& info) { return Name(info.param); });

TEST(AttentionTest, ScoresAreDividedByTheRootOfTheHeadSizeUnlessToldOtherwise) {
  const at::NoGradGuard no_grad;
  const Tensor q = RandomTensor({1, 9, 2, 16}, 1), k = RandomTensor({1, 9, 2, 16}, 2);
  EXPECT_TRUE(CausalAttention(q, k, k).equal(CausalAttention(q, k, k, 0, {.scale = 0.25})));
}

TEST(AttentionTest, AQueryDoesNotSeeWhatComesAfterIt) {
  const at::NoGradGuard no_grad;
  const Tensor q = RandomTensor({1, 200, 2, 8}, 1), k = RandomTensor({1, 200, 2, 8}, 2),
               v = RandomTensor({1, 200, 2, 8}, 3);
  const Tensor before = CausalAttention(q, k, v);
  k.narrow(1, 150, 50).fill_(100);
  v.narrow(1, 150, 50).fill_(100);
  const Tensor after = CausalAttention(q, k, v);
  EXPECT_TRUE(after.narrow(1, 0, 150).equal(before.narrow(1, 0, 150)));
  EXPECT_FALSE(after.narrow(1, 150, 50).equal(before.narrow(1, 150, 50)));
}

}  // namespace
}  // namespace puzzle
