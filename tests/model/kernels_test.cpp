#include "model/math/kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
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

// Words in tiles of several widths, the later ones with higher logits and with lower ones.
TEST(KernelsTest, RunningSumsDoNotDependOnTheTiles) {
  constexpr int64_t kRows = 3, kWords = 1100;
  const Tensor rise = at::linspace(-40, 40, kWords).unsqueeze(0);
  for (const Tensor& drift : {rise, rise.flip(1)}) {
    const Tensor p = (RandomTensor({kRows, kWords}, 1) * 3 + drift).contiguous();
    const Tensor q = (RandomTensor({kRows, kWords}, 2) * 3 + drift).contiguous();
    const float none = -std::numeric_limits<float>::infinity();
    std::vector<float> p_high(kRows, none), q_high(kRows, none), alone_high(kRows, none);
    std::vector<double> p_sum(kRows), q_sum(kRows), alone_sum(kRows), cross(kRows);
    for (const auto& [first, count] :
         std::vector<std::pair<int64_t, int64_t>>{{0, 1}, {1, 16}, {17, 700}, {717, 383}}) {
      const Tensor tile_p = p.narrow(1, first, count).contiguous();
      const Tensor tile_q = q.narrow(1, first, count).contiguous();
      AddToKl(tile_p.data_ptr<float>(), tile_q.data_ptr<float>(), kRows, count,
              {p_high.data(), p_sum.data()}, {q_high.data(), q_sum.data()}, cross.data());
      AddToLogSum(tile_q.data_ptr<float>(), kRows, count, {alone_high.data(), alone_sum.data()});
    }
    const Tensor log_p = p.to(at::kDouble).log_softmax(-1),
                 log_q = q.to(at::kDouble).log_softmax(-1);
    const Tensor kl = (log_p.exp() * (log_p - log_q)).sum(-1);
    const Tensor log_sum = q.to(at::kDouble).logsumexp(-1);
    for (size_t r = 0; r < kRows; ++r) {
      const auto row = static_cast<int64_t>(r);
      const double lse_p = p_high[r] + std::log(p_sum[r]), lse_q = q_high[r] + std::log(q_sum[r]);
      EXPECT_NEAR(lse_q, log_sum[row].item<double>(), 1e-5);
      EXPECT_NEAR(alone_high[r] + std::log(alone_sum[r]), lse_q, 1e-9);
      EXPECT_NEAR(cross[r] / p_sum[r] - lse_p + lse_q, kl[row].item<double>(), 1e-5);
    }
  }
}

TEST(KernelsTest, AWordDoesNotExceedItself) {
  const std::vector<float> logits = {1, 4, 2, 3, 5, 5, 0, 4};  // two rows of four words
  // The bar of the first row is a little below its own word's logit: another product computed it.
  const std::vector<float> bar = {1.9999F, 4};
  const std::vector<int64_t> inside = {2, 3}, outside = {-2, 4};
  std::vector<int64_t> count = {10, 0};
  CountNotBelow(logits.data(), bar.data(), inside.data(), 2, 4, count.data());
  EXPECT_EQ(count, (std::vector<int64_t>{12, 2}));
  CountNotBelow(logits.data(), bar.data(), outside.data(), 2, 4, count.data());
  EXPECT_EQ(count, (std::vector<int64_t>{15, 5}));
}

}  // namespace
}  // namespace puzzle
