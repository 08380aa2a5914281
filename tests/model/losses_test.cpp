#include "model/math/losses.h"

#include <gtest/gtest.h>

#include "tests/model/tiny_model.h"

namespace puzzle {
namespace {

using at::Tensor;
using torch::autograd::grad;

// More tokens and words than one tile holds.
constexpr int64_t kTokens = 800, kVocab = 3000, kHidden = 12;

HeadInput Head(uint64_t seed) {
  return {RandomTensor({kTokens, kHidden}, seed), RandomTensor({kVocab, kHidden}, seed + 1)};
}

Tensor Targets() {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(uint64_t{5});
  return at::randint(kVocab, {kTokens}, generator, at::kLong);
}

// Means and standard errors of what was measured at every token, and metrics that agree with them.
void ExpectMean(const TokenMetrics& metrics, Metric metric, const Tensor& values) {
  const std::string name(AllMetrics()[static_cast<size_t>(metric)].name);
  const double error = values.std().item<double>() / std::sqrt(static_cast<double>(kTokens));
  EXPECT_NEAR(metrics.Mean(metric), values.mean().item<double>(), 1e-5) << name;
  EXPECT_NEAR(metrics.Error(metric), error, 1e-5) << name;
}

// By plain operators in double precision: a row of values per token and metric.
struct Reference {
  Reference(const HeadInput& child, const HeadInput& parent, const Tensor& targets) {
    const auto exact = [](const Tensor& x) { return x.to(at::kDouble); };
    const Tensor logits = at::mm(exact(child.hidden), exact(child.matrix).t());
    const Tensor log_p = logits.log_softmax(-1);
    const Tensor parent_log_p =
        at::mm(exact(parent.hidden), exact(parent.matrix).t()).log_softmax(-1);
    nll = -log_p.gather(1, targets.unsqueeze(1)).squeeze(1);
    kl = (parent_log_p.exp() * (parent_log_p - log_p)).sum(-1);
    const Tensor h = exact(child.hidden), p = exact(parent.hidden);
    cosine = 1 - (h * p).sum(-1) / (h.norm(2, -1) * p.norm(2, -1));
    error = (h - p).square().sum(-1);
    energy = p.square().sum(-1);
    const Tensor best = std::get<1>(logits.topk(10));
    for (int k : {1, 5, 10})
      hits.push_back(best.narrow(1, 0, k).eq(targets.unsqueeze(1)).any(1).to(at::kDouble));
  }

  // Standard error of sum(error) / sum(energy): what it becomes without each of the tokens.
  [[nodiscard]] double JackknifeError() const {
    const Tensor without = (error.sum() - error) / (energy.sum() - energy);
    return std::sqrt((without - without.mean()).square().sum().item<double>() *
                     static_cast<double>(kTokens - 1) / static_cast<double>(kTokens));
  }

  Tensor nll, kl, cosine, error, energy;
  std::vector<Tensor> hits;
};

TEST(LossesTest, MetricsAgreeWithTheWholeLogitMatrix) {
  const HeadInput child = Head(1), parent = Head(3);
  const Tensor targets = Targets();
  const TokenMetrics metrics = Measure(child, targets, &parent).Sum();
  const Reference reference(child, parent, targets);
  EXPECT_EQ(metrics.tokens, kTokens);
  ExpectMean(metrics, Metric::kNll, reference.nll);
  ExpectMean(metrics, Metric::kKl, reference.kl);
  ExpectMean(metrics, Metric::kCosine, reference.cosine);
  ExpectMean(metrics, Metric::kNmse, reference.error / reference.energy);
  ExpectMean(metrics, Metric::kTop1, reference.hits[0]);
  ExpectMean(metrics, Metric::kTop5, reference.hits[1]);
  ExpectMean(metrics, Metric::kTop10, reference.hits[2]);
  EXPECT_NEAR(metrics.Mean(Metric::kNmseTensor),
              (reference.error.sum() / reference.energy.sum()).item<double>(), 1e-5);
  const double jackknife = reference.JackknifeError();
  EXPECT_NEAR(metrics.Error(Metric::kNmseTensor), jackknife, 0.01 * jackknife);
}

TEST(LossesTest, IncreasesAreComparedTokenByToken) {
  const HeadInput base = Head(1), parent = Head(3);
  // Close to the base: its errors are those of the base, and the increase's are far smaller.
  const HeadInput child = {base.hidden + 0.1 * RandomTensor({kTokens, kHidden}, 9), base.matrix};
  const Tensor targets = Targets();
  const TokenFigures before = Measure(base, targets, &parent);
  const TokenMetrics after = Measure(child, targets, &parent).Sum();
  const TokenMetrics increase = before.IncreaseTo(Measure(child, targets, &parent)).Sum();
  const Reference a(base, parent, targets), b(child, parent, targets);
  ExpectMean(increase, Metric::kNll, b.nll - a.nll);
  ExpectMean(increase, Metric::kKl, b.kl - a.kl);
  ExpectMean(increase, Metric::kTop10, b.hits[2] - a.hits[2]);
  ExpectMean(increase, Metric::kNmse, (b.error - a.error) / a.energy);
  EXPECT_NEAR(increase.Mean(Metric::kNmseTensor),
              ((b.error.sum() - a.error.sum()) / a.energy.sum()).item<double>(), 1e-5);
  EXPECT_LT(increase.Error(Metric::kNll), 0.2 * after.Error(Metric::kNll));
}

TEST(LossesTest, LikelihoodsAreThoseOfThePlainSoftmax) {
  const HeadInput head = Head(1);
  const Tensor logits = at::mm(head.hidden.to(at::kDouble), head.matrix.to(at::kDouble).t());
  const Tensor best = logits.argmax(-1);
  // Every other token is the greedy one.
  const Tensor even = at::arange(kTokens).remainder(2).eq(0);
  const Tensor targets = at::where(even, best, Targets());
  const Likelihood likelihood = LikelihoodOf(head, targets);
  const Tensor expected = logits.log_softmax(-1).gather(1, targets.unsqueeze(1)).squeeze(1);
  EXPECT_TENSORS_NEAR(likelihood.log_probability, expected, 1e-5);
  EXPECT_TRUE(likelihood.greedy.equal(targets.eq(best)));
}

TEST(LossesTest, NanAndTiesAreNotRight) {
  const auto accuracies = [](const Tensor& matrix) {
    const HeadInput head{at::ones({4, 1}), matrix};
    const TokenMetrics metrics = Measure(head, at::zeros({4}, at::kLong), nullptr).Sum();
    return std::array{metrics.Mean(Metric::kTop1), metrics.Mean(Metric::kTop5),
                      metrics.Mean(Metric::kTop10)};
  };
  const auto nan = std::numeric_limits<double>::quiet_NaN();
  Tensor logits = at::zeros({20, 1});  // of target 0 first
  EXPECT_EQ(accuracies(logits), (std::array{0.0, 0.0, 0.0})) << "all equal";
  EXPECT_EQ(accuracies(at::full({20, 1}, nan)), (std::array{0.0, 0.0, 0.0}));
  logits[0] = 1;
  EXPECT_EQ(accuracies(logits), (std::array{1.0, 1.0, 1.0}));
  logits[7] = 1;
  EXPECT_EQ(accuracies(logits), (std::array{0.0, 1.0, 1.0})) << "one as large";
  for (int i = 1; i < 6; ++i) logits[i] = nan;
  EXPECT_EQ(accuracies(logits), (std::array{0.0, 0.0, 1.0})) << "five may be larger, one is equal";
}

TEST(LossesTest, AVocabularyThatIsPaddedIsComparedByItsCommonPart) {
  const HeadInput child = Head(1), parent = Head(3);
  const Tensor targets = Targets();
  const auto padded = [](const HeadInput& head) {
    return HeadInput{head.hidden, at::cat({head.matrix, RandomTensor({64, kHidden}, 11)})};
  };
  const TokenMetrics plain = Measure(child, targets, &parent).Sum();
  const HeadInput padded_parent = padded(parent), padded_child = padded(child);
  const TokenMetrics with_parent = Measure(child, targets, &padded_parent).Sum();
  const TokenMetrics with_child = Measure(padded_child, targets, &parent).Sum();
  for (const Metric metric : {Metric::kKl, Metric::kCosine, Metric::kNmse}) {
    EXPECT_NEAR(with_parent.Mean(metric), plain.Mean(metric), 1e-6);
    EXPECT_NEAR(with_child.Mean(metric), plain.Mean(metric), 1e-6);
  }
  EXPECT_NEAR(with_parent.Mean(Metric::kNll), plain.Mean(Metric::kNll), 1e-6);
  EXPECT_GT(with_child.Mean(Metric::kNll), plain.Mean(Metric::kNll)) << "its own rows all count";
}

TEST(LossesTest, WithoutAParentThereIsNothingToCompareWith) {
  const TokenMetrics metrics = Measure(Head(1), Targets(), nullptr).Sum();
  EXPECT_GT(metrics.Error(Metric::kNll), 0);
  for (const MetricInfo& info : AllMetrics()) {
    if (!info.needs_parent) continue;
    EXPECT_EQ(metrics.Mean(info.metric), 0) << info.name;
    EXPECT_EQ(metrics.Error(info.metric), 0) << info.name;
  }
}

TEST(LossesTest, AModelDivergesFromItselfByNothing) {
  const HeadInput head = Head(1);
  const TokenMetrics metrics = Measure(head, Targets(), &head).Sum();
  EXPECT_NEAR(metrics.Mean(Metric::kKl), 0, 1e-6);
  EXPECT_NEAR(metrics.Mean(Metric::kCosine), 0, 1e-6);
  EXPECT_EQ(metrics.Mean(Metric::kNmse), 0);
  EXPECT_EQ(metrics.Mean(Metric::kNmseTensor), 0);
}

TEST(LossesTest, AFoldedParentGivesTheSameMetrics) {
  // Another state and another head: what a child of a repaired child has.
  const HeadInput child = Head(1), parent = Head(3);
  const TokenMetrics plain = Measure(child, Targets(), &parent).Sum();
  const TokenMetrics folded = Measure(child, Targets(), FoldParent(parent, child.matrix)).Sum();
  EXPECT_NEAR(folded.Mean(Metric::kKl), plain.Mean(Metric::kKl), 3e-6);  // of 9.9
  EXPECT_NEAR(folded.Error(Metric::kKl), plain.Error(Metric::kKl), 1e-6);
  for (const MetricInfo& info : AllMetrics().subspan(1))
    EXPECT_EQ(folded.Mean(info.metric), plain.Mean(info.metric)) << info.name;
  const TokenMetrics own = Measure(child, Targets(), FoldParent(child, child.matrix)).Sum();
  EXPECT_NEAR(own.Mean(Metric::kKl), 0, 1e-12);
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

// 1 << 23 logits over 20,000 words are 419 tokens.
TEST(LossesTest, GradientsOfSeveralChunksAreThoseOfOne) {
  HeadInput student = {RandomTensor({900, 4}, 1), RandomTensor({20000, 4}, 2)};
  const HeadInput teacher = {RandomTensor({900, 4}, 3), RandomTensor({20000, 4}, 4)};
  student.hidden.requires_grad_(true);
  student.matrix.requires_grad_(true);
  const auto gradients = [&](int64_t first, int64_t count) {
    const Tensor loss = KlLoss({student.hidden.narrow(0, first, count), student.matrix},
                               {teacher.hidden.narrow(0, first, count), teacher.matrix}) *
                        (static_cast<double>(count) / 900);
    return grad({loss}, {student.hidden, student.matrix});
  };
  const auto whole = gradients(0, 900), a = gradients(0, 400), b = gradients(400, 400),
             c = gradients(800, 100);
  for (const size_t i : {0, 1}) {
    EXPECT_TENSORS_NEAR(whole[i], a[i] + b[i] + c[i], 1e-7);
    EXPECT_GT(whole[i].abs().max().item<double>(), 1e-4);
  }
}

// Once for several parts of a batch.
TEST(LossesTest, AMatrixThatIsRoundedAlreadyGivesTheSameBits) {
  HeadInput student = Head(1), teacher = Head(3);
  student.products = teacher.products = at::kBFloat16;
  student.hidden.requires_grad_(true);
  student.matrix.requires_grad_(true);
  HeadInput own = student, its = teacher;
  own.rounded = student.matrix.detach().to(at::kBFloat16);
  its.rounded = teacher.matrix.to(at::kBFloat16);
  const Tensor targets = Targets();
  const Tensor kl = KlLoss(student, teacher), entropy = CrossEntropyLoss(student, targets);
  const Tensor same_kl = KlLoss(own, its), same_entropy = CrossEntropyLoss(own, targets);
  EXPECT_TRUE(same_kl.equal(kl));
  EXPECT_TRUE(same_entropy.equal(entropy));
  const auto expected = grad({kl, entropy}, {student.hidden, student.matrix});
  const auto actual = grad({same_kl, same_entropy}, {student.hidden, student.matrix});
  for (const size_t i : {0, 1}) EXPECT_TRUE(actual[i].equal(expected[i]));
  own.rounded.zero_();
  EXPECT_FALSE(CrossEntropyLoss(own, targets).equal(entropy)) << "it is what products read";
}

// A head in bf16 is the head of rounded operands, in figures and gradients.
TEST(LossesTest, ProductsInBf16RoundOperandsAndNothingElse) {
  const auto in_bf16 = [](HeadInput head) {
    head.products = at::kBFloat16;
    return head;
  };
  const auto rounded = [](const HeadInput& head) {
    return HeadInput{AsMultiplied(head.hidden, at::kBFloat16),
                     AsMultiplied(head.matrix, at::kBFloat16)};
  };
  const HeadInput child = Head(1), parent = Head(3), low = in_bf16(child),
                  low_parent = in_bf16(parent);
  EXPECT_FALSE(rounded(child).hidden.equal(child.hidden));
  const Tensor targets = Targets();
  const Reference expected(rounded(child), rounded(parent), targets);
  const TokenMetrics metrics = Measure(low, targets, &low_parent).Sum();
  ExpectMean(metrics, Metric::kNll, expected.nll);
  ExpectMean(metrics, Metric::kKl, expected.kl);
  ExpectMean(metrics, Metric::kTop5, expected.hits[1]);
  const TokenMetrics folded = Measure(low, targets, FoldParent(low_parent, low.matrix)).Sum();
  EXPECT_NEAR(folded.Mean(Metric::kKl), metrics.Mean(Metric::kKl), 3e-6);
  const auto gradients = [](HeadInput student, const HeadInput& teacher) {
    student.hidden.requires_grad_(true);
    student.matrix.requires_grad_(true);
    return grad({KlLoss(student, teacher)}, {student.hidden, student.matrix});
  };
  const auto exact = gradients(rounded(child), rounded(parent)),
             actual = gradients(low, low_parent);
  for (const size_t i : {0, 1}) {
    const double scale = exact[i].square().mean().sqrt().item<double>();
    EXPECT_LT((actual[i] - exact[i]).square().mean().sqrt().item<double>(), 0.005 * scale);
  }
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
  const TokenMetrics whole = Measure(child, targets, &parent).Sum();
  TokenMetrics sum;
  for (int64_t first : {0, 300}) {
    const int64_t count = first == 0 ? 300 : kTokens - 300;
    auto part = [&](const HeadInput& head) {
      return HeadInput{head.hidden.narrow(0, first, count), head.matrix};
    };
    const HeadInput parent_part = part(parent);
    sum += Measure(part(child), targets.narrow(0, first, count), &parent_part).Sum();
  }
  EXPECT_EQ(sum.tokens, whole.tokens);
  for (const MetricInfo& info : AllMetrics()) {
    EXPECT_NEAR(sum.Mean(info.metric), whole.Mean(info.metric), 1e-6) << info.name;
    EXPECT_NEAR(sum.Error(info.metric), whole.Error(info.metric), 1e-6) << info.name;
  }
}

}  // namespace
}  // namespace puzzle
