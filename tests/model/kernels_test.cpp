#include "model/math/kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/model/tiny_model.h"

namespace puzzle {
namespace {

using at::Tensor;

double Silu(double x) {
  return x / (1.0 + std::exp(-x));
}

// Lengths that leave something over behind whole vectors of any width.
TEST(KernelsTest, TheGateIsExactToAFewUnitsInTheLastPlaceEverywhere) {
  std::vector<float> gate;
  for (float x = -100; x <= 100; x += 0.37F) gate.push_back(x);
  for (float x : {-88.5F, -0.0F, 0.0F, 1e-30F, 88.5F, 1e30F}) gate.push_back(x);
  const std::vector<float> ones(gate.size(), 1.0F);
  std::vector<float> out(gate.size());
  GateForward(gate.data(), ones.data(), out.data(), static_cast<int64_t>(gate.size()));
  for (size_t i = 0; i < gate.size(); ++i) {
    const double expected = Silu(gate[i]);
    EXPECT_NEAR(out[i], expected, 5e-7 * std::abs(expected) + 1e-35) << gate[i];
  }
}

TEST(KernelsTest, ANumberThatIsNoneStaysOne) {
  const float nan = std::nanf("");
  std::vector<float> gate(20, nan), ones(20, 1.0F), out(20);
  GateForward(gate.data(), ones.data(), out.data(), 20);
  for (float value : out) EXPECT_TRUE(std::isnan(value));
}

TEST(KernelsTest, TheGatesGradientAgreesWithFiniteDifferences) {
  const double h = 1e-4;
  for (double g = -6; g < 6; g += 0.31) {
    const float gate = static_cast<float>(g), up = 1.7F, d_out = 0.6F;
    float d_gate = 0, d_up = 0;
    GateBackward(&gate, &up, &d_out, &d_gate, &d_up, 1);
    EXPECT_NEAR(d_gate, 0.6 * 1.7 * (Silu(g + h) - Silu(g - h)) / (2 * h), 1e-5);
    EXPECT_NEAR(d_up, 0.6 * Silu(g), 1e-6);
  }
}

TEST(KernelsTest, TheGateInBf16IsTheGateInFp32Rounded) {
  const Tensor gate = (RandomTensor({77}, 1) * 4).to(at::kBFloat16);
  const Tensor up = RandomTensor({77}, 2).to(at::kBFloat16),
               d = RandomTensor({77}, 3).to(at::kBFloat16);
  auto bits = [](const Tensor& t) { return reinterpret_cast<Bf16Bits*>(t.data_ptr()); };
  auto data = [](const Tensor& t) { return t.data_ptr<float>(); };
  const Tensor out = at::empty_like(gate), d_gate = at::empty_like(gate),
               d_up = at::empty_like(gate);
  GateForward(bits(gate), bits(up), bits(out), 77);
  GateBackward(bits(gate), bits(up), bits(d), bits(d_gate), bits(d_up), 77);
  const Tensor g = gate.to(at::kFloat), u = up.to(at::kFloat), e = d.to(at::kFloat);
  const Tensor exact = at::empty({77}), exact_gate = at::empty({77}), exact_up = at::empty({77});
  GateForward(data(g), data(u), data(exact), 77);
  GateBackward(data(g), data(u), data(e), data(exact_gate), data(exact_up), 77);
  EXPECT_TRUE(out.equal(exact.to(at::kBFloat16)));
  EXPECT_TRUE(d_gate.equal(exact_gate.to(at::kBFloat16)));
  EXPECT_TRUE(d_up.equal(exact_up.to(at::kBFloat16)));
}

TEST(KernelsTest, TheGatesGradientMayOverwriteItsInputs) {
  const Tensor gate = RandomTensor({77}, 1), up = RandomTensor({77}, 2), d = RandomTensor({77}, 3);
  auto data = [](const Tensor& t) { return t.data_ptr<float>(); };
  const Tensor d_gate = at::empty({77}), d_up = at::empty({77});
  GateBackward(data(gate), data(up), data(d), data(d_gate), data(d_up), 77);
  GateBackward(data(gate), data(up), data(d), data(gate), data(up), 77);
  EXPECT_TRUE(gate.equal(d_gate));
  EXPECT_TRUE(up.equal(d_up));
}

// Three positions of two rows each, five keys: position p sees keys up to p + 2.
TEST(KernelsTest, TheCausalSoftmaxSeesItsWindowOnly) {
  CausalTile tile{.positions = 3, .group = 2, .keys = 5, .window = 2, .scale = 0.5F};
  const Tensor raw = RandomTensor({6, 5}, 1) * 4;
  Tensor scores = raw.clone();
  std::vector<float> sum(6), log_sum(6);
  CausalSoftmax(tile, scores.data_ptr<float>(), sum.data(), log_sum.data());
  for (int64_t row = 0; row < 6; ++row) {
    const int64_t last = row / 2 + 3, first = last - 2;
    double total = 0;
    for (int64_t key = 0; key < 5; ++key) {
      const double p = scores[row][key].item<double>() / sum[static_cast<size_t>(row)];
      total += p;
      if (key < first || key >= last) {
        EXPECT_EQ(p, 0);
      } else {
        EXPECT_NEAR(
            p, std::exp(0.5 * raw[row][key].item<double>() - log_sum[static_cast<size_t>(row)]),
            1e-6);
      }
    }
    EXPECT_NEAR(total, 1, 1e-6);
  }
}

}  // namespace
}  // namespace puzzle
