// Losses on answers only: what counts is what a mask says, and nothing else matters.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "graph/kind/params.h"
#include "io/error.h"
#include "io/hdf5_archive.h"
#include "model/math/losses.h"
#include "model/surgery.h"
#include "nodes/data/artifacts.h"
#include "nodes/data/counted_predictions.h"
#include "nodes/measure/evaluate.h"
#include "nodes/measure/score.h"
#include "nodes/states/activations.h"
#include "nodes/train/bld.h"
#include "nodes/train/gkd.h"
#include "nodes/train/trainee.h"
#include "tests/io/temp_folder.h"
#include "tests/io/test_files.h"
#include "tests/model/same_bits.h"
#include "tests/model/tiny_model.h"
#include "tests/nodes/fake_inputs.h"
#include "tests/nodes/tiny_tokens.h"

namespace puzzle {
namespace {

using at::Tensor;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr int64_t kSequences = 20, kLength = 12;

TEST(CountedPredictionsTest, ATokensPredictionStandsOneBeforeIt) {
  const Tensor mask =
      at::tensor({0, 1, 1, 0, /**/ 0, 0, 0, 0, /**/ 1, 0, 0, 1}).to(at::kBool).view({3, 4});
  const CountedPredictions counted(mask);
  EXPECT_EQ(counted.total(), 3);  // nothing predicts the first token of the last sequence
  EXPECT_EQ(counted.Before(1), 2);
  EXPECT_EQ(counted.Of(1, 1), 0);
  EXPECT_EQ(counted.Of(1, 2), 1);
  EXPECT_THAT(counted.Sequences(), ElementsAre(0, 2));
  EXPECT_TRUE(counted.Select(at::arange(9), 0, 3).equal(at::tensor({0, 1, 8}, at::kLong)));
  EXPECT_TRUE(counted.Select(at::arange(6), 1, 2).equal(at::tensor({5}, at::kLong)));
  EXPECT_THAT(ErrorOf([] { (void)CountedPredictions(Tensor()); }), HasSubstr("`tokenize` marks"));
  EXPECT_THAT(ErrorOf([&] { (void)CountedPredictions(mask.narrow(0, 1, 1)); }),
              HasSubstr("hold no answers"));
}

class AnswersTest : public testing::Test {
 protected:
  AnswersTest() : parent_(TinyModel()) {
    for (int i = 0; i < kSequences * kLength; ++i) {
      // Answers of all lengths; every fifth sequence has none.
      const int64_t sequence = i / kLength, place = i % kLength;
      tokens_.mask.push_back(sequence % 5 != 2 && place > sequence % 7 && place < 3 + sequence % 9);
    }
    states_ = Capture(parent_, "parent");
  }

  // As the kind does it.
  Activations Capture(const Transformer& model, const std::string& name) {
    FakeInputs inputs;
    inputs.Add("parent", name, Checkpoint{model.weights(), {}, {}, {}}).Add("tokens", "t", tokens_);
    ActivationsParams params;
    params.dtype = "fp32";
    FakeContext context;
    const std::string path = folder_ / (name + ".h5");
    auto archive = Hdf5Format().create(path);
    RunActivations(params, inputs, context, *archive);
    archive->Close();
    return Activations::Load(Hdf5Format().open(path));
  }

  [[nodiscard]] ModelWeights With(const char* variant) const {
    const VariantSpec spec = ResolveVariant(variant, parent_.config(), 1);
    ModelWeights replaced = Clone(parent_.weights());
    Replace(replaced, 1, spec, InitVariant(parent_.weights(), 1, spec));
    return replaced;
  }

  // Of every prediction whose token is in the mask, from whole rows of logits.
  struct Expected {
    Tensor nll, kl;
  };
  [[nodiscard]] Expected OfAnswers(const Transformer& model) const {
    const at::NoGradGuard no_grad;
    const Tensor ids = tokens_.Batch(0, kSequences);
    const auto log_p = [&](const Transformer& m) {
      return m.Logits(ids).narrow(1, 0, kLength - 1).to(at::kDouble).log_softmax(-1);
    };
    const Tensor own = log_p(model), other = log_p(parent_);
    const Tensor nll = -own.gather(2, ids.narrow(1, 1, kLength - 1).unsqueeze(2)).squeeze(2);
    const Tensor kl = (other.exp() * (other - own)).sum(-1);
    const Tensor counts = tokens_.Mask().narrow(1, 1, kLength - 1);
    return {nll.masked_select(counts), kl.masked_select(counts)};
  }

  [[nodiscard]] SubBlockData Data() const {
    return MakeSubBlockData(parent_, states_, 1, SubBlock::kAttention, nullptr, at::kFloat, [] {});
  }
  static BldParams Params() {
    BldParams params;
    params.on = "answers";
    params.epochs = 3;
    params.batch = 4;
    params.holdout = 4;
    params.refit_tokens = 128;
    return params;
  }

  Transformer parent_;
  TokenSet tokens_ = TinyTokens(kSequences, kLength);
  TempFolder folder_;
  Activations states_;
};

TEST_F(AnswersTest, ActivationsBringTheMaskOfTheirTokens) {
  ASSERT_TRUE(states_.Mask().defined());
  EXPECT_TRUE(states_.Mask().equal(tokens_.Mask()));
  tokens_.mask.clear();
  EXPECT_FALSE(Capture(parent_, "plain").Mask().defined());
}

TEST_F(AnswersTest, AnEvaluationIsTheMeanOverAnswers) {
  const Transformer child(With("ffn:none"));
  const auto [nll, kl] = OfAnswers(child);
  const int64_t all = nll.size(0);
  ASSERT_LT(all, kSequences * (kLength - 1));
  for (const int64_t positions : {int64_t{0}, int64_t{1}, int64_t{5}, int64_t{23}, all - 1}) {
    const int64_t expected = positions == 0 ? all : positions;
    for (const int64_t batch : {1, 3, 8}) {
      const TokenMetrics metrics = EvaluateModel(
          child, &parent_, tokens_, positions, batch, [](double) {}, true);
      EXPECT_EQ(metrics.tokens, expected);
      EXPECT_NEAR(metrics.Mean(Metric::kNll), nll.narrow(0, 0, expected).mean().item<double>(),
                  1e-5);
      EXPECT_NEAR(metrics.Mean(Metric::kKl), kl.narrow(0, 0, expected).mean().item<double>(), 1e-5);
    }
  }
  EXPECT_EQ(EvaluateModel(child, nullptr, tokens_, 0, 8, [](double) {}).tokens,
            kSequences * (kLength - 1));  // a mask alone changes nothing
}

TEST_F(AnswersTest, AScoreIsTheMeanOverAnswers) {
  const Captured captured{parent_, states_, true};
  for (const int64_t batch : {1, 7}) {
    const FoldedParent folded = FoldCaptured(parent_, captured, batch);
    for (const char* variant : {"ffn:none", "attn:none"}) {
      const VariantSpec spec = ResolveVariant(variant, parent_.config(), 1);
      const auto [nll, kl] = OfAnswers(Transformer(With(variant)));
      const TokenMetrics score =
          ScoreReplacement(captured, {1, spec, InitVariant(parent_.weights(), 1, spec), {}}, folded,
                           batch, [](double) {})
              .Sum();
      EXPECT_EQ(score.tokens, nll.size(0));
      EXPECT_NEAR(score.Mean(Metric::kNll), nll.mean().item<double>(), 1e-5);
      EXPECT_NEAR(score.Mean(Metric::kKl), kl.mean().item<double>(), 1e-5);
    }
    EXPECT_NEAR(ScoreAsIs(captured, folded, batch).Sum().Mean(Metric::kNll),
                OfAnswers(parent_).nll.mean().item<double>(), 1e-5);
  }
}

TEST_F(AnswersTest, TheScoreKindTakesAnswersWhenAskedTo) {
  FakeInputs inputs;
  inputs.Add("parent", "parent", Checkpoint{parent_.weights(), {}, {}, {}})
      .Add("activations", "states", states_)
      .Add("block", "block",
           Block{1, "ffn:none", FfnSpec{SubBlockForm::kNone, 0}, false, FfnWeights{}, nullptr});
  FakeContext context;
  ScoreParams params;
  EXPECT_EQ(RunScore(params, inputs, context).metrics.tokens, kSequences * (kLength - 1));
  params.on = "answers";
  const auto expected = OfAnswers(Transformer(With("ffn:none")));
  EXPECT_NEAR(RunScore(params, inputs, context).metrics.Mean(Metric::kKl),
              expected.kl.mean().item<double>(), 1e-5);
}

TEST_F(AnswersTest, TheLossOfBldIsThatOfStatesThatPredictAnswers) {
  const SubBlockData data = Data();
  const VariantSpec spec = ResolveVariant("attn:kv1", parent_.config(), 1);
  const SubBlockWeights start = InitVariant(parent_.weights(), 1, spec);
  const SubBlockData::Batch held_out = data.Rows({16, 17, 18, 19}, "cpu");
  const at::NoGradGuard no_grad;
  const Tensor off =
      SubBlockOutput(start, spec, parent_.config(), parent_.rotary(), held_out.input) -
      held_out.target;
  // A state counts when the token behind it is in an answer.
  Tensor counts = at::zeros({4, kLength}, at::kDouble);
  for (int64_t row = 0; row < 4; ++row)
    for (int64_t place = 0; place + 1 < kLength; ++place)
      counts[row][place] =
          static_cast<double>(tokens_.mask[static_cast<size_t>((16 + row) * kLength + place + 1)]);
  const auto power = [](const Tensor& x) { return x.to(at::kDouble).square().sum(-1); };
  const Tensor error = power(off), energy = power(held_out.target);
  BldParams params = Params();
  EXPECT_NEAR(Trainee(start, spec, parent_, data, params, "cpu").HeldOutLoss(),
              ((error * counts).sum() / (energy * counts).sum()).item<double>(), 1e-5);
  params.loss = "token";
  EXPECT_NEAR(Trainee(start, spec, parent_, data, params, "cpu").HeldOutLoss(),
              ((error / energy * counts).sum() / counts.sum()).item<double>(), 1e-5);
}

TEST_F(AnswersTest, BldLearnsNothingFromWhatIsNoAnswer) {
  const VariantSpec spec = ResolveVariant("attn:kv1", parent_.config(), 1);
  const SubBlockWeights start = InitVariant(parent_.weights(), 1, spec);
  SubBlockData data = Data();
  FakeContext context;
  const auto distill = [&](const BldParams& params) {
    return DistillSubBlock(start, spec, parent_, data, params, 3, context);
  };
  Distilled expected = distill(Params());
  EXPECT_LT(expected.loss, expected.init_loss);
  const Tensor silent = data.predicts_answer.eq(0).unsqueeze(-1);
  data.target = at::where(silent, at::full({}, 3.0, at::kBFloat16), data.target);
  data.power = data.target.to(at::kFloat).square().sum(-1);
  Distilled other = distill(Params());
  EXPECT_EQ(other.loss, expected.loss);
  ExpectSameBits(Slots(other.weights, spec), Slots(expected.weights, spec));
  BldParams all = Params();
  all.on = "all";
  EXPECT_NE(distill(all).loss, expected.loss);
}

TEST_F(AnswersTest, GlobalDistillationsLossIsTheMeanOverTheAnswersOfABatch) {
  const TeacherStates teacher_states = [&](const std::vector<int64_t>& rows) {
    std::vector<Tensor> all = {parent_.Embed(tokens_.Rows(rows))};
    for (int64_t layer = 0; layer < 2; ++layer)
      all.push_back(parent_.Blocks(all.back(), layer, layer + 1));
    return all;
  };
  const auto first_loss = [&](double kl, double cosine, double nll) {
    GkdParams params;
    params.on = "answers";
    params.steps = 1;
    // All sequences with answers, in parts with other numbers of them.
    params.batch = std::ssize(CountedPredictions(tokens_.Mask()).Sequences());
    params.kl_weight = kl;
    params.cosine_weight = cosine;
    params.lm_weight = nll;
    params.holdout = 0;
    FakeContext context;
    const Transformer student(With("ffn:25%"));
    return DistillGlobally({{parent_, teacher_states}}, student, tokens_, params, 1, context).loss;
  };
  const auto expected = OfAnswers(Transformer(With("ffn:25%")));
  EXPECT_NEAR(first_loss(1, 0, 0), expected.kl.mean().item<double>(), 1e-5);
  EXPECT_NEAR(first_loss(0, 0, 1), expected.nll.mean().item<double>(), 1e-5);
  // Of two layers the first is the parent's own.
  const at::NoGradGuard no_grad;
  const Tensor ids = tokens_.Batch(0, kSequences);
  const auto behind = [&](const Transformer& model) {
    return model.Blocks(model.Embed(ids), 0, 2).narrow(1, 0, kLength - 1).to(at::kDouble);
  };
  const Tensor distance =
      1 - at::cosine_similarity(behind(Transformer(With("ffn:25%"))), behind(parent_), -1);
  const Tensor counts = tokens_.Mask().narrow(1, 1, kLength - 1);
  EXPECT_NEAR(first_loss(0, 1, 0), distance.masked_select(counts).mean().item<double>() / 2, 1e-5);
}

TEST_F(AnswersTest, TokensWithoutAMaskAreRefusedByWhoeverWantsAnswers) {
  tokens_.mask.clear();
  states_ = Capture(parent_, "plain");
  FakeContext context;
  FakeInputs inputs;
  inputs.Add("parent", "plain", Checkpoint{parent_.weights(), {}, {}, {}})
      .Add("model", "plain", Checkpoint{parent_.weights(), {}, {}, {}})
      .Add("teacher", "plain", Checkpoint{parent_.weights(), {}, {}, {}})
      .Add("student", "child", Checkpoint{With("ffn:25%"), {}, {}, {}})
      .Add("tokens", "tokens", tokens_)
      .Add("activations", "states", states_)
      .Add("block", "block",
           Block{1, "ffn:none", FfnSpec{SubBlockForm::kNone, 0}, false, FfnWeights{}, nullptr});
  const auto wants_answers = [](auto params) {
    params.on = "answers";
    return params;
  };
  BldParams bld = Params();
  bld.layer = 1;
  bld.variant = "ffn:50%";
  const std::string no_marks = "in these tokens no answers are marked: `tokenize` marks them";
  EXPECT_THAT(ErrorOf([&] { (void)RunBld(bld, inputs, context); }), HasSubstr(no_marks));
  EXPECT_THAT(ErrorOf([&] { (void)RunGkd(wants_answers(GkdParams()), inputs, context); }),
              HasSubstr(no_marks));
  EXPECT_THAT(ErrorOf([&] { (void)RunScore(wants_answers(ScoreParams()), inputs, context); }),
              HasSubstr(no_marks));
  EXPECT_THAT(ErrorOf([&] { (void)RunEvaluate(wants_answers(EvaluateParams()), inputs, context); }),
              HasSubstr(no_marks));
}

TEST_F(AnswersTest, HeldOutSequencesWithoutAnswersMeasureNothing) {
  BldParams params = Params();
  const SubBlockData data = Data();
  const VariantSpec spec = ResolveVariant("attn:kv1", parent_.config(), 1);
  SubBlockData silent = data;
  silent.predicts_answer = data.predicts_answer.clone();
  silent.predicts_answer.narrow(0, kSequences - params.holdout, params.holdout).zero_();
  EXPECT_THAT(ErrorOf([&] {
                Trainee(InitVariant(parent_.weights(), 1, spec), spec, parent_, silent, params,
                        "cpu");
              }),
              HasSubstr("the last 4 of them held out"));
}

TEST(LossOnTest, ResultsFromBeforeThereWasAChoiceStayValid) {
  std::vector<NodeKind> kinds = TrainKinds();
  for (NodeKind& kind : MeasureKinds()) kinds.push_back(std::move(kind));
  int seen = 0;
  for (const NodeKind& kind : kinds) {
    const ParamBinder binder(kind, nullptr);
    const int on = binder.Find("on");
    if (on < 0) continue;
    ++seen;
    const auto keyed = [&](const nlohmann::ordered_json& value) {
      std::vector<const nlohmann::ordered_json*> given(kind.params.size());
      given[static_cast<size_t>(on)] = &value;
      std::vector<ParamMistake> mistakes;  // of parameters that a graph has to give
      return binder.Bind(given, mistakes).keyed;
    };
    EXPECT_THAT(keyed("all"), testing::Not(HasSubstr("\"on\""))) << kind.name;
    EXPECT_THAT(keyed("answers"), HasSubstr(R"("on":"answers")")) << kind.name;
  }
  EXPECT_EQ(seen, 4);  // bld, gkd, score, evaluate
}

}  // namespace
}  // namespace puzzle
