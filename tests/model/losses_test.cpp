#include "model/losses.h"

#include <gtest/gtest.h>

#include "tests/model/tiny_model.h"

namespace puzzle {
namespace {

using at::Tensor;
using torch::autograd::grad;

// More tokens than one chunk of logits holds: 1 << 20 logits over 3000 words are 349 tokens.
constexpr int64_t kTokens = 800, kVocab = 3000, kHidden = 12;

HeadInput Head(uint64_t seed) {
  return {RandomTensor({kTokens, kHidden}, seed), RandomTensor({kVocab, kHidden}, seed + 1)};
}

Tensor Targets() {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(uint64_t{5});
  return at::randint(kVocab, {kTokens}, generator, at::kLong);
}

TEST(LossesTest, MetricsAgreeWithTheWholeLogitMatrix) {
  const HeadInput child = Head(1), parent = Head(3);
  const Tensor targets = Targets();
  const TokenMetrics metrics = Measure(child, targets, &parent);
  const Tensor logits = at::mm(child.hidden, child.matrix.t()).to(at::kDouble);
  const Tensor log_p = logits.log_softmax(-1);
  const Tensor parent_log_p =
      at::mm(parent.hidden, parent.matrix.t()).to(at::kDouble).log_softmax(-1);
  const Tensor nll = -log_p.gather(1, targets.unsqueeze(1)).squeeze(1);
  const Tensor kl = (parent_log_p.exp() * (parent_log_p - log_p)).sum(-1);
  EXPECT_EQ(metrics.tokens, kTokens);
  EXPECT_NEAR(metrics.MeanNll(), nll.mean().item<double>(), 1e-5);
  EXPECT_NEAR(metrics.MeanKl(), kl.mean().item<double>(), 1e-5);
  EXPECT_NEAR(metrics.KlError(), kl.std().item<double>() / std::sqrt(double{kTokens}), 1e-4);
  const Tensor best = std::get<1>(logits.topk(10));
  for (int k : {1, 5, 10}) {
    const Tensor hit = best.narrow(1, 0, k).eq(targets.unsqueeze(1)).any(1);
    EXPECT_NEAR(metrics.TopAccuracy(k), hit.to(at::kDouble).mean().item<double>(), 1e-12) << k;
  }
}

TEST(LossesTest, AModelDivergesFromItselfByNothing) {
  const HeadInput head = Head(1);
  const TokenMetrics metrics = Measure(head, Targets(), &head);
  EXPECT_NEAR(metrics.MeanKl(), 0, 1e-6);
  EXPECT_NEAR(metrics.MeanCosine(), 0, 1e-6);
}

TEST(LossesTest, AFoldedParentGivesTheSameMetrics) {
  // Another state and another head: what a child of a repaired child has.
  const HeadInput child = Head(1), parent = Head(3);
  const TokenMetrics plain = Measure(child, Targets(), &parent);
  const TokenMetrics folded = Measure(child, Targets(), FoldParent(parent, child.matrix));
  EXPECT_NEAR(folded.MeanKl(), plain.MeanKl(), 3e-6);  // of 9.9
  EXPECT_NEAR(folded.KlError(), plain.KlError(), 1e-6);
  EXPECT_EQ(folded.MeanNll(), plain.MeanNll());
  EXPECT_EQ(folded.MeanCosine(), plain.MeanCosine());
  EXPECT_EQ(folded.top5, plain.top5);
  EXPECT_NEAR(Measure(child, Targets(), FoldParent(child, child.matrix)).MeanKl(), 0, 1e-6);
}

TEST(LossesTest, CrossEntropyAndItsGradientsAgreeWithPlainOperators) {
  HeadInput head = Head(1);
  head.hidden.requires_grad_(true);
  head.matrix.requires_grad_(true);
  const Tensor targets = Targets();
  const Tensor reference = at::cross_entropy_loss(at::mm(head.hidden, head.matrix.t()), targets);
  const Tensor loss = CrossEntropyLoss(head, targets);
  EXPECT_NEAR(loss.item<double>(), reference.item<double>(), 1e-4);
  const auto expected = grad({2.0 * reference}, {head.hidden, head.matrix});
  const auto actual = grad({2.0 * loss}, {head.hidden, head.matrix});
  EXPECT_TENSORS_NEAR(actual[0], expected[0], 1e-6);
  EXPECT_TENSORS_NEAR(actual[1], expected[1], 1e-6);
}

TEST(LossesTest, KlAndItsGradientsAgreeWithPlainOperators) {
  HeadInput student = Head(1);
  const HeadInput teacher = Head(3);
  student.hidden.requires_grad_(true);
  student.matrix.requires_grad_(true);
  const Tensor teacher_log_p = at::mm(teacher.hidden, teacher.matrix.t()).log_softmax(-1);
  const Tensor log_p = at::mm(student.hidden, student.matrix.t()).log_softmax(-1);
  const Tensor reference = (teacher_log_p.exp() * (teacher_log_p - log_p)).sum(-1).mean();
  const Tensor loss = KlLoss(student, teacher);
  EXPECT_NEAR(loss.item<double>(), reference.item<double>(), 1e-4);
  const auto expected = grad({reference}, {student.hidden, student.matrix});
  const auto actual = grad({loss}, {student.hidden, student.matrix});
  EXPECT_TENSORS_NEAR(actual[0], expected[0], 1e-6);
  EXPECT_TENSORS_NEAR(actual[1], expected[1], 1e-6);
}

TEST(LossesTest, TheSquaredErrorIsOneForASubBlockThatAddsNothing) {
  const Tensor target = RandomTensor({4, 8}, 1);
  const Tensor weight = target.square().sum().reciprocal().unsqueeze(0);
  EXPECT_NEAR(WeightedSquaredError(at::zeros_like(target), target, weight).item<double>(), 1, 1e-6);
  EXPECT_EQ(WeightedSquaredError(target, target, weight).item<double>(), 0);
}

TEST(LossesTest, TheSquaredErrorAndItsGradientAgreeWithPlainOperators) {
  const Tensor target = RandomTensor({2, 5, 8}, 1), weight = RandomTensor({2, 5, 1}, 2).abs();
  const Tensor output = RandomTensor({2, 5, 8}, 3).requires_grad_(true);
  const Tensor reference = ((output - target).square() * weight).sum();
  const Tensor loss = WeightedSquaredError(output, target, weight);
  EXPECT_NEAR(loss.item<double>(), reference.item<double>(), 1e-4);
  EXPECT_TENSORS_NEAR(grad({loss}, {output})[0], grad({reference}, {output})[0], 1e-5);
}

TEST(LossesTest, MetricsOfPartsAddUp) {
  const HeadInput child = Head(1), parent = Head(3);
  const Tensor targets = Targets();
  const TokenMetrics whole = Measure(child, targets, &parent);
  TokenMetrics sum;
  for (int64_t first : {0, 300}) {
    const int64_t count = first == 0 ? 300 : kTokens - 300;
    auto part = [&](const HeadInput& head) {
      return HeadInput{head.hidden.narrow(0, first, count), head.matrix};
    };
    const HeadInput parent_part = part(parent);
    sum += Measure(part(child), targets.narrow(0, first, count), &parent_part);
  }
  EXPECT_EQ(sum.tokens, whole.tokens);
  EXPECT_EQ(sum.top5, whole.top5);
  EXPECT_NEAR(sum.kl, whole.kl, 1e-3);
}

}  // namespace
}  // namespace puzzle
