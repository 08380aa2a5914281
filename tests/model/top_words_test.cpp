#include "model/math/top_words.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "model/math/losses.h"
#include "tests/model/tiny_model.h"

namespace puzzle {
namespace {

using at::Tensor;
using torch::autograd::grad;

// More tokens and words than one tile holds.
constexpr int64_t kManyTokens = 600, kManyWords = 5000, kWidth = 12;

HeadInput WideHead(uint64_t seed) {
  return {RandomTensor({kManyTokens, kWidth}, seed), RandomTensor({kManyWords, kWidth}, seed + 1)};
}

Tensor WholeLogP(const HeadInput& head) {
  return at::mm(head.hidden.to(at::kDouble), head.matrix.to(at::kDouble).t()).log_softmax(-1);
}

Tensor Differentiable(const Tensor& of) {
  return of.detach().clone().set_requires_grad(true);
}

// By plain operators in double precision: the KL of distributions whose other words are one.
Tensor PlainCoarseKl(const Tensor& log_p, const Tensor& log_q, const Tensor& ids) {
  const Tensor chosen = at::zeros_like(log_p).scatter(1, ids, 1.0).to(at::kBool);
  const auto rest = [&](const Tensor& log_of) {
    return log_of.masked_fill(chosen, -std::numeric_limits<double>::infinity()).logsumexp(1);
  };
  const Tensor p = log_p.gather(1, ids), q = log_q.gather(1, ids);
  return ((p.exp() * (p - q)).sum(1) + rest(log_p).exp() * (rest(log_p) - rest(log_q))).mean();
}

TEST(TopWordsTest, AreThoseOfTheWholeLogitMatrix) {
  const HeadInput head = WideHead(1);
  const Tensor log_p = WholeLogP(head);
  for (const int64_t k : {1, 7, 2100}) {  // the last one more than the words of a tile
    const Tensor expected = std::get<0>(log_p.topk(k));
    const TopWords words = TopWordsOf(head, k);
    EXPECT_TENSORS_NEAR(log_p.gather(1, words.ids), expected, 1e-5);
    EXPECT_TRUE(std::get<0>(words.ids.sort(1)).diff(1, 1).gt(0).all().item<bool>())
        << "no word twice";
    EXPECT_TENSORS_NEAR(words.log_probability, expected, 1e-5);
    EXPECT_TENSORS_NEAR(words.log_rest.exp(), 1 - expected.exp().sum(1), 5e-6);
  }
  const TopWords all = TopWordsOf(head, kManyWords);
  EXPECT_TRUE(std::get<0>(all.ids.sort(1)).equal(at::arange(kManyWords).expand_as(all.ids)));
  EXPECT_TRUE(all.log_rest.isneginf().all().item<bool>());
}

TEST(TopWordsTest, OfEqualWordsTheFirstAreTaken) {
  const Tensor matrix = at::zeros({3000, 1});
  matrix[2500] = 1;
  const TopWords words = TopWordsOf({at::ones({2, 1}), matrix}, 3);
  EXPECT_TRUE(words.ids.equal(at::tensor({2500, 0, 1}, at::kLong).expand({2, 3})));
}

TEST(TopWordsTest, OfLogitsThatAreNoNumbersNothingIsSaid) {
  HeadInput head = WideHead(1);
  head.hidden[3][0] = std::nan("");
  const Tensor said = TopWordsOf(head, 5).log_probability;
  EXPECT_TRUE(said[3].isnan().all().item<bool>());
  EXPECT_TRUE(said.narrow(0, 4, 10).isfinite().all().item<bool>());
  head.hidden[3][0] = std::numeric_limits<float>::infinity();
  EXPECT_FALSE(TopWordsOf(head, 5).log_probability[3].isfinite().all().item<bool>());
}

TEST(TopWordsTest, ProductsInBf16RoundOperandsAndNothingElse) {
  HeadInput low = WideHead(1);
  low.products = at::kBFloat16;
  const HeadInput rounded = {AsMultiplied(low.hidden, at::kBFloat16),
                             AsMultiplied(low.matrix, at::kBFloat16)};
  EXPECT_TENSORS_NEAR(TopWordsOf(low, 9).log_probability, std::get<0>(WholeLogP(rounded).topk(9)),
                      1e-5);
}

TEST(CoarseKlTest, AndItsGradientsAgreeWithPlainOperators) {
  const HeadInput teacher = WideHead(3);
  HeadInput student = WideHead(1);
  student.hidden = Differentiable(student.hidden);
  student.matrix = Differentiable(student.matrix);
  for (const int64_t k : {1, 20}) {
    const TopWords words = TopWordsOf(teacher, k);
    const Tensor reference = PlainCoarseKl(WholeLogP(teacher), WholeLogP(student), words.ids);
    const Tensor loss = CoarseKlLoss(student, words);
    EXPECT_NEAR(loss.item<double>(), reference.item<double>(), 1e-4);
    const auto expected = grad({2.0 * reference}, {student.hidden, student.matrix});
    const auto actual = grad({2.0 * loss}, {student.hidden, student.matrix});
    EXPECT_TENSORS_NEAR(actual[0], expected[0], 1e-6);
    EXPECT_TENSORS_NEAR(actual[1], expected[1], 1e-6);
    EXPECT_GT(actual[1].abs().max().item<double>(), 1e-4);
  }
}

TEST(CoarseKlTest, TheGradientIsThatOfFiniteDifferences) {
  const HeadInput teacher{RandomTensor({5, 4}, 3), RandomTensor({30, 4}, 4)};
  const TopWords words = TopWordsOf(teacher, 6);
  HeadInput student{RandomTensor({5, 4}, 1), RandomTensor({30, 4}, 2)};
  const Tensor hidden = Differentiable(student.hidden), matrix = Differentiable(student.matrix);
  const auto gradients = grad({CoarseKlLoss({hidden, matrix}, words)}, {hidden, matrix});
  const auto difference = [&](const Tensor& values, int64_t row, int64_t column) {
    constexpr float kStep = 1e-2F;
    const Tensor place = values[row][column];
    const auto loss = [&](float shift) {
      place.add_(shift);
      const double at = CoarseKlLoss(student, words).item<double>();
      place.sub_(shift);
      return at;
    };
    return (loss(kStep) - loss(-kStep)) / (2 * kStep);
  };
  for (int64_t column = 0; column < 4; ++column) {
    for (int64_t row = 0; row < 5; ++row)
      EXPECT_NEAR(gradients[0][row][column].item<double>(), difference(student.hidden, row, column),
                  3e-4);
    for (int64_t row = 0; row < 30; ++row)
      EXPECT_NEAR(gradients[1][row][column].item<double>(), difference(student.matrix, row, column),
                  3e-4);
  }
}

// Taking words together loses what tells the two models apart among them, and nothing else.
TEST(CoarseKlTest, IsTheWholeOneLessThatWithinTheRest) {
  const HeadInput teacher = WideHead(3), student = WideHead(1);
  const double whole = KlLoss(student, teacher).item<double>();
  double before = 0;
  for (const int64_t k : {1, 10, 300, 4000}) {
    const TopWords words = TopWordsOf(teacher, k);
    const double coarse = CoarseKlLoss(student, words).item<double>();
    EXPECT_GT(coarse, before) << k;
    EXPECT_LT(coarse, whole) << k;
    before = coarse;
    const Tensor chosen =
        at::zeros({kManyTokens, kManyWords}).scatter(1, words.ids, 1.0).to(at::kBool);
    const auto within = [&](const HeadInput& head) {
      return at::mm(head.hidden.to(at::kDouble), head.matrix.to(at::kDouble).t())
          .masked_fill(chosen, -1e30)
          .log_softmax(1);
    };
    const Tensor p = within(teacher), q = within(student);
    const Tensor lost = words.log_rest.to(at::kDouble).exp() * (p.exp() * (p - q)).sum(1);
    EXPECT_NEAR(whole - coarse, lost.mean().item<double>(), 1e-4) << k;
  }
}

TEST(CoarseKlTest, OfAllWordsIsTheWholeOne) {
  const HeadInput teacher = WideHead(3);
  HeadInput student = WideHead(1);
  student.hidden = Differentiable(student.hidden);
  student.matrix = Differentiable(student.matrix);
  for (const at::ScalarType products : {at::kFloat, at::kBFloat16}) {
    student.products = products;
    HeadInput low = teacher;
    low.products = products;
    const Tensor whole = KlLoss(student, low);
    const Tensor loss = CoarseKlLoss(student, TopWordsOf(low, kManyWords));
    EXPECT_NEAR(loss.item<double>(), whole.item<double>(), 1e-5 * whole.item<double>());
    const auto expected = grad({whole}, {student.hidden, student.matrix});
    const auto actual = grad({loss}, {student.hidden, student.matrix});
    const double tolerance = products == at::kFloat ? 1e-6 : 1e-4;
    EXPECT_TENSORS_NEAR(actual[0], expected[0], tolerance);
    EXPECT_TENSORS_NEAR(actual[1], expected[1], tolerance);
  }
}

TEST(CoarseKlTest, OfTheTeacherItselfIsNothing) {
  HeadInput head = WideHead(1);
  head.hidden = Differentiable(head.hidden);
  const Tensor loss = CoarseKlLoss(head, TopWordsOf(head, 10));
  EXPECT_NEAR(loss.item<double>(), 0, 1e-6);
  EXPECT_LT(grad({loss}, {head.hidden})[0].abs().max().item<double>(), 1e-7);
}

// A teacher that is sure: what it has never heard of is not to be said, and costs no NaN.
TEST(CoarseKlTest, ARestWithoutProbabilityIsMovedAway) {
  const Tensor logits = Differentiable(at::zeros({1, 4}));  // as states of an identity
  const float none = -std::numeric_limits<float>::infinity();
  const TopWords words{at::tensor({2}, at::kLong).view({1, 1}), at::zeros({1, 1}),
                       at::full({1}, none)};
  const Tensor loss = CoarseKlLoss({logits, at::eye(4)}, words);
  EXPECT_NEAR(loss.item<double>(), std::log(4.0), 1e-6);
  EXPECT_TENSORS_NEAR(grad({loss}, {logits})[0], at::tensor({0.25, 0.25, -0.75, 0.25}).view({1, 4}),
                      1e-6);
}

// 1 << 23 logits over 20,000 words are 419 tokens.
TEST(CoarseKlTest, GradientsOfSeveralChunksAreThoseOfOne) {
  const HeadInput teacher{RandomTensor({900, 4}, 3), RandomTensor({20000, 4}, 4)};
  const TopWords words = TopWordsOf(teacher, 8);
  const Tensor hidden = Differentiable(RandomTensor({900, 4}, 1)),
               matrix = Differentiable(RandomTensor({20000, 4}, 2));
  const auto gradients = [&](int64_t first, int64_t count) {
    const Tensor loss =
        CoarseKlLoss({hidden.narrow(0, first, count), matrix}, words.Narrow(first, count));
    return grad({loss * (static_cast<double>(count) / 900)}, {hidden, matrix});
  };
  const auto whole = gradients(0, 900), a = gradients(0, 400), b = gradients(400, 500);
  for (const size_t i : {0, 1}) EXPECT_TENSORS_NEAR(whole[i], a[i] + b[i], 1e-7);
}

}  // namespace
}  // namespace puzzle
