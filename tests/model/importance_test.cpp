#include "model/importance.h"

#include <gtest/gtest.h>
#include <torch/nn/modules/linear.h>
#include <torch/utils.h>

#include "model/math/runtime.h"
#include "tests/model/tiny_model.h"

namespace puzzle {
namespace {

using at::Tensor;

// Known answer of the open implementation: seed 42, Linear(6, 4, no bias), 3 x randn(32, 8, 6).
TEST(ImportanceTest, IterativeRankingMatchesTheKnownAnswer) {
  torch::manual_seed(42);
  const torch::nn::Linear linear(torch::nn::LinearOptions(6, 4).bias(false));
  IterativeChannelRanking ranking(linear->weight, 3);
  for (int i = 0; i < 3; ++i) ranking.Add(at::randn({32, 8, 6}).flatten(0, 1));
  EXPECT_TRUE(ranking.Positions().equal(at::tensor({5, 1, 3, 2, 4, 0}, at::kLong)))
      << ranking.Positions();
}

// The same source's known answer: three batches of randn(2, 3, 6), tokens first.
TEST(ImportanceTest, ChannelNormMatchesTheKnownAnswer) {
  torch::manual_seed(42);
  const torch::nn::Linear linear(torch::nn::LinearOptions(6, 4).bias(false));
  std::vector<Tensor> batches;
  for (int i = 0; i < 3; ++i) batches.push_back(at::randn({2, 3, 6}).transpose(0, 1));
  const Tensor expected = at::tensor({3.2030, 2.5018, 2.5272, 1.9222, 2.6204, 2.2623});
  EXPECT_TENSORS_NEAR(ChannelNorm(at::cat(batches)), expected, 1e-4);
}

TEST(ImportanceTest, ChannelContributionIsMeanActivityTimesColumnNorm) {
  const Tensor features = at::tensor({1.0, -2.0, 3.0, 4.0}).view({2, 2});  // means of |x|: 2, 3
  const Tensor down = at::tensor({3.0, 0.0, 4.0, 1.0}).view({2, 2});       // norms: 5, 1
  EXPECT_TENSORS_NEAR(ChannelContribution(features, down), at::tensor({10.0, 3.0}), 1e-12);
}

// Nothing is missing yet: |x_i W_i|, averaged over tokens. On several threads, with more tokens and
// channels than one piece of work has.
TEST(ImportanceTest, TheFirstRoundGoesByWhatChannelsAddAlone) {
  const Tensor features = RandomTensor({1000, 600}, 1), down = RandomTensor({16, 600}, 2);
  const Tensor alone = at::mm(features.abs().to(at::kDouble).mean(0, /*keepdim=*/true),
                              down.to(at::kDouble).norm(2, at::IntArrayRef{0}).diag())
                           .flatten();
  const auto positions = [&](int threads) {
    const ThreadsGuard some(threads);
    IterativeChannelRanking ranking(down, 2);
    ranking.Add(features);
    ranking.Add(features.flip(0));
    return ranking.Positions();
  };
  const Tensor ranked = positions(3);
  EXPECT_TRUE(ranked.equal(positions(1)));
  EXPECT_TRUE(std::get<0>(ranked.sort()).equal(at::arange(600, at::kLong)));
  const Tensor first = ranked.argsort().narrow(0, 0, 300);
  const Tensor in_order = alone.index_select(0, first);
  EXPECT_TRUE(
      (in_order.narrow(0, 1, 299) - in_order.narrow(0, 0, 299)).ge(-1e-5).all().item<bool>())
      << "the least is removed first";
  EXPECT_NEAR(in_order.max().item<double>(), std::get<0>(alone.sort())[299].item<double>(), 1e-5);
}

// The error if a channel went too, by doing it.
TEST(ImportanceTest, EveryRoundRemovesTheChannelWhoseLossHurtsLeast) {
  const Tensor down = RandomTensor({4, 6}, 1);
  IterativeChannelRanking ranking(down, 6);
  std::vector<int64_t> removed;
  for (uint64_t round = 0; round < 6; ++round) {
    const Tensor x = RandomTensor({50, 6}, 10 + round);
    ranking.Add(x);
    int64_t best = -1;
    double least = 1e30;
    for (int64_t channel = 0; channel < 6; ++channel) {
      if (std::find(removed.begin(), removed.end(), channel) != removed.end()) continue;
      Tensor missing = at::zeros({50, 6});
      for (int64_t gone : removed) missing.select(1, gone).copy_(x.select(1, gone));
      missing.select(1, channel).copy_(x.select(1, channel));
      const double error = at::mm(missing, down.t()).norm(2, 1).mean().item<double>();
      if (error < least) {
        least = error;
        best = channel;
      }
    }
    removed.push_back(best);
  }
  const Tensor positions = ranking.Positions();
  for (int64_t i = 0; i < 6; ++i)
    EXPECT_EQ(positions[removed[static_cast<size_t>(i)]].item<int64_t>(), i);
}

TEST(ImportanceTest, HeadContributionIsTheNormOfTheHeadsOutput) {
  const Tensor mixed = RandomTensor({20, 8}, 1), o = RandomTensor({6, 8}, 2);
  const Tensor scores = KvHeadContribution(mixed, o, 2);
  Tensor second = mixed.clone();
  second.narrow(1, 0, 4).zero_();
  EXPECT_NEAR(scores[1].item<double>(), at::mm(second, o.t()).norm(2, 1).mean().item<double>(),
              1e-5);
}

TEST(ImportanceTest, OrderIsFromTheHighestScore) {
  EXPECT_TRUE(
      MostImportantFirst(at::tensor({0.5, 3.0, 1.0})).equal(at::tensor({1, 2, 0}, at::kLong)));
}

// More channels than one piece of work, and rounds that remove many.
TEST(ImportanceTest, ManyChannelsAreRankedByTheErrorsOfTheFormula) {
  constexpr int64_t kChannels = 300, kRounds = 3;
  const Tensor down = RandomTensor({8, kChannels}, 1);
  IterativeChannelRanking ranking(down, kRounds);
  Tensor expected = at::full({kChannels}, -1, at::kLong);
  int64_t removed = 0;
  for (int64_t round = 1; round <= kRounds; ++round) {
    const Tensor x = RandomTensor({130, kChannels}, 10 + static_cast<uint64_t>(round));
    ranking.Add(x);
    const Tensor w = down.to(at::kDouble), gone = expected.ge(0);
    const Tensor missing = at::mm(x.to(at::kDouble) * gone, w.t());  // [tokens, hidden]
    // [tokens, hidden, channels] -> [channels]
    Tensor errors = (missing.unsqueeze(2) + x.to(at::kDouble).unsqueeze(1) * w.unsqueeze(0))
                        .square()
                        .sum(1)
                        .sqrt()
                        .mean(0);
    errors.masked_fill_(gone, 1e30);
    const Tensor order = errors.argsort();
    for (int64_t i = 0; removed < kChannels * round / kRounds; ++i)
      expected[order[i].item<int64_t>()] = removed++;
  }
  EXPECT_TRUE(ranking.Positions().equal(expected));
}

}  // namespace
}  // namespace puzzle
