// Blockwise distillation, scores, evaluation and global distillation on a tiny model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

#include "io/error.h"
#include "io/hdf5_archive.h"
#include "model/math/runtime.h"
#include "model/surgery.h"
#include "nodes/data/artifacts.h"
#include "nodes/measure/artifacts.h"
#include "nodes/measure/evaluate.h"
#include "nodes/measure/score.h"
#include "nodes/states/activations.h"
#include "nodes/states/artifacts.h"
#include "nodes/states/layer_input.h"
#include "nodes/train/artifacts.h"
#include "nodes/train/bld.h"
#include "nodes/train/gkd.h"
#include "nodes/train/pretrain.h"
#include "nodes/train/trainee.h"
#include "tests/io/temp_folder.h"
#include "tests/io/test_files.h"
#include "tests/model/same_bits.h"
#include "tests/model/tiny_model.h"
#include "tests/nodes/fake_inputs.h"
#include "tests/nodes/step_contexts.h"
#include "tests/nodes/tiny_tokens.h"

namespace puzzle {
namespace {

using at::Tensor;
using testing::HasSubstr;

BldParams QuickParams() {
  BldParams params;
  params.epochs = 6;
  params.batch = 4;
  params.holdout = 4;
  params.refit_tokens = 512;
  return params;
}

class DistillTest : public testing::Test {
 protected:
  DistillTest() : parent_(TinyModel()) { states_ = Capture(parent_, "parent"); }

  Activations Capture(const Transformer& model, const std::string& name, int64_t stride = 1) {
    const at::NoGradGuard no_grad;
    const std::string path = folder_ / (name + std::to_string(stride) + ".h5");
    auto archive = Hdf5Format().create(path);
    Activations::Writer writer(*archive, {3, tokens_.sequences(), 16, 32, DType::kF32, stride},
                               name);
    for (int64_t first = 0; first < tokens_.sequences(); first += 8) {
      const Tensor ids = tokens_.Batch(first, 8);
      std::vector<Tensor> states = {model.Embed(ids)};
      for (int64_t layer = 0; layer < 2; ++layer)
        states.push_back(model.Blocks(states.back(), layer, layer + 1));
      writer.Append(states, ids);
    }
    archive->Close();
    return Activations::Load(Hdf5Format().open(path));
  }

  SubBlockData DataOf(SubBlock which, at::ScalarType products = at::kFloat) {
    const auto make = [&](SubBlock of, const SubBlockData* attention) {
      return MakeSubBlockData(parent_, states_, 1, of, attention, products, [] {});
    };
    if (which != SubBlock::kFfn) return make(which, nullptr);
    const SubBlockData attention = make(SubBlock::kAttention, nullptr);
    return make(which, &attention);
  }

  Distilled Distill(const char* variant, const BldParams& params, RunContext& context) {
    const VariantSpec spec = ResolveVariant(variant, parent_.config(), 1);
    const SubBlockData data = DataOf(WhichSubBlock(spec));
    return DistillSubBlock(InitVariant(parent_.weights(), 1, spec), spec, parent_, data, params, 3,
                           context);
  }
  Distilled Distill(const char* variant, const BldParams& params) {
    FakeContext context;
    return Distill(variant, params, context);
  }
  TokenMetrics Score(const char* variant) {
    const VariantSpec spec = ResolveVariant(variant, parent_.config(), 1);
    return ScoreReplacement({parent_, states_},
                            {1, spec, InitVariant(parent_.weights(), 1, spec), {}},
                            FoldedFor(parent_), 7, [](double) {})
        .Sum();
  }

  // In place of the FFN of layer 1, which adds nothing.
  void ExpectNothingToLearn(const ModelWeights& weights, const std::string& name) {
    const Transformer parent(weights);
    const Activations states = Capture(parent, name);
    const SubBlockData attention =
        MakeSubBlockData(parent, states, 1, SubBlock::kAttention, nullptr, at::kFloat, [] {});
    const SubBlockData data =
        MakeSubBlockData(parent, states, 1, SubBlock::kFfn, &attention, at::kFloat, [] {});
    for (const char* loss : {"tensor", "token"}) {
      BldParams params = QuickParams();
      params.loss = loss;
      const VariantSpec spec = ResolveVariant("ffn:50%", parent.config(), 1);
      FakeContext context;
      const Distilled end =
          DistillSubBlock(InitVariant(weights, 1, spec), spec, parent, data, params, 3, context);
      EXPECT_EQ(end.complaint, "") << name << ' ' << loss;
      EXPECT_EQ(end.init_loss, 0) << name << ' ' << loss;
      EXPECT_EQ(end.loss, 0) << name << ' ' << loss;
    }
  }

  // The parent, for models with the head of `model`.
  FoldedParent FoldedFor(const Transformer& model) {
    return FoldCaptured(model, {parent_, states_}, 3);
  }

  Transformer parent_;
  TokenSet tokens_ = TinyTokens(40);
  TempFolder folder_;
  Activations states_;
};

TEST_F(DistillTest, EveryStageOfBldLowersTheHeldOutLoss) {
  const Distilled ffn = Distill("ffn:50%", QuickParams());
  EXPECT_LT(ffn.refit_loss, ffn.init_loss);
  EXPECT_LT(ffn.loss, ffn.refit_loss);
  const Distilled attention = Distill("attn:kv1", QuickParams());
  EXPECT_LT(attention.loss, attention.init_loss);
  const Distilled linear = Distill("ffn:linear", QuickParams());
  EXPECT_LT(linear.loss, 1.0) << "least squares is at least as good as nothing";
}

TEST_F(DistillTest, AWholeBlocksTargetIsWhatTheParentsBlockAdds) {
  const SubBlockData data = DataOf(SubBlock::kBoth);
  const SubBlockData::Batch batch = data.Rows({3, 7}, "cpu");
  const Tensor x = at::cat({states_.Read(1, 3, 1), states_.Read(1, 7, 1)});
  EXPECT_TENSORS_NEAR(batch.input, x, 1e-2 * x.abs().max().item<double>());  // bf16
  const Tensor added = parent_.Blocks(batch.input, 1, 2) - batch.input;
  EXPECT_TENSORS_NEAR(batch.target, added, 1e-2 * added.abs().max().item<double>());
}

TEST_F(DistillTest, CoupledTrainingImprovesOnPartsThatWereTrainedApart) {
  const VariantSpec spec = ResolveVariant("attn:kv1+ffn:50%", parent_.config(), 1);
  const BlockWeights apart = {
      std::get<AttentionWeights>(Distill("attn:kv1", QuickParams()).weights),
      std::get<FfnWeights>(Distill("ffn:50%", QuickParams()).weights)};
  const SubBlockData data = DataOf(SubBlock::kBoth);
  FakeContext context;
  const Distilled coupled = DistillSubBlock(apart, spec, parent_, data, QuickParams(), 3, context);
  const Distilled alone = Distill("attn:kv1+ffn:50%", QuickParams());
  EXPECT_LT(coupled.init_loss, alone.init_loss) << "parts that were trained are a better start";
  EXPECT_LT(coupled.loss, 0.95 * coupled.init_loss);
  EXPECT_LT(alone.loss, alone.init_loss);
  // The reported loss is that of the whole forward pass through the block.
  const SubBlockData::Batch held_out = data.Rows({36, 37, 38, 39}, "cpu");
  ModelWeights replaced = parent_.weights();
  Replace(replaced, 1, spec, coupled.weights);
  const at::NoGradGuard no_grad;
  const Tensor added = Transformer(replaced).Blocks(held_out.input, 1, 2) - held_out.input;
  EXPECT_NEAR(
      coupled.loss,
      ((added - held_out.target).square().sum() / held_out.target.square().sum()).item<double>(),
      1e-4 * coupled.loss);
}

TEST_F(DistillTest, NoOtherOutputMatrixBehindAWholeBlocksFeaturesIsBetter) {
  BldParams params = QuickParams();
  params.refit_tokens = 36 * 16;  // all that is trained on
  const SubBlockData data = DataOf(SubBlock::kBoth);
  for (const char* name : {"attn:kv1+ffn:50%", "attn:none+ffn:linear", "attn:kv1+ffn:none"}) {
    const VariantSpec spec = ResolveVariant(name, parent_.config(), 1);
    Trainee trainee(InitVariant(parent_.weights(), 1, spec), spec, parent_, data, params, "cpu");
    trainee.RefitOutput(params.refit_tokens, [] {});
    std::vector<int64_t> rows(36);
    std::iota(rows.begin(), rows.end(), 0);
    const SubBlockData::Batch batch = data.Rows(rows, "cpu");
    auto weights = std::get<BlockWeights>(trainee.Weights());
    Tensor& last = IsNone(std::get<BlockSpec>(spec).ffn) ? weights.attention.o
                   : weights.ffn.down.defined()          ? weights.ffn.down
                                                         : weights.ffn.linear;
    const at::NoGradGuard no_grad;
    const auto loss = [&] {
      ModelWeights replaced = parent_.weights();
      Replace(replaced, 1, spec, weights);
      const Tensor added = Transformer(replaced).Blocks(batch.input, 1, 2) - batch.input;
      return (added - batch.target).to(at::kDouble).square().sum().item<double>();
    };
    const double least = loss();
    const Tensor best = last.clone();
    for (uint64_t seed = 1; seed <= 6; ++seed) {
      last.copy_(best + 0.01 * best.abs().mean() * RandomTensor(best.sizes().vec(), seed));
      EXPECT_GT(loss(), least) << name;
    }
  }
}

TEST_F(DistillTest, ABiasIsFittedAlongWithTheOutputMatrix) {
  const at::NoGradGuard no_grad;
  ModelConfig config = TinyConfig();
  config.arch.qkv_bias = true;
  ModelWeights weights = TinyModel(config);
  weights.blocks[1].attention.v_bias.copy_(RandomTensor({16}, 5));
  const Transformer parent(weights);
  const Activations states = Capture(parent, "biased");
  const VariantSpec spec = ResolveVariant("attn:linear", config, 1);
  const SubBlockData data =
      MakeSubBlockData(parent, states, 1, SubBlock::kAttention, nullptr, at::kFloat, [] {});
  Trainee trainee(InitVariant(weights, 1, spec), spec, parent, data, QuickParams(), "cpu");
  const double start = trainee.HeldOutLoss();
  trainee.RefitOutput(36 * 16, [] {});
  EXPECT_LT(trainee.HeldOutLoss(), start);
  std::vector<int64_t> rows(36);
  std::iota(rows.begin(), rows.end(), 0);
  const SubBlockData::Batch batch = data.Rows(rows, "cpu");
  const Tensor off =
      SubBlockOutput(trainee.Weights(), spec, config, parent.rotary(), batch.input) - batch.target;
  // Anywhere else the mean of what is left would not vanish.
  EXPECT_LT(off.mean(at::IntArrayRef{0, 1}).abs().max().item<double>(),
            1e-5 * batch.target.abs().max().item<double>());
}

TEST_F(DistillTest, BldIsAFunctionOfItsSeedAndParameters) {
  const VariantSpec spec = ResolveVariant("ffn:50%", parent_.config(), 1);
  const auto a = Parameters(Distill("ffn:50%", QuickParams()).weights, spec);
  const auto b = Parameters(Distill("ffn:50%", QuickParams()).weights, spec);
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(a[i].equal(b[i]));
}

TEST_F(DistillTest, DataTooLargeForTheMemoryTeachesTheSameFromFiles) {
  FakeInputs inputs;
  inputs.Add("parent", "parent", Checkpoint{parent_.weights(), {}, {}, {}});
  inputs.Add("activations", "states", states_);
  BldParams params = QuickParams();
  params.layer = 1;
  params.variant = "ffn:50%";
  FakeContext roomy, tight;
  tight.resident = 1000;
  Block expected = RunBld(params, inputs, roomy), block = RunBld(params, inputs, tight);
  EXPECT_EQ(roomy.files, 0);
  EXPECT_EQ(tight.files, 4) << "inputs and answers of the attention and of the FFN";
  EXPECT_EQ(block.loss, expected.loss);
  ExpectSameBits(Slots(block.trained, block.spec), Slots(expected.trained, expected.spec));
}

TEST_F(DistillTest, ATrainingThatDivergesFallsBackToTheBestState) {
  BldParams params = QuickParams();
  params.lr = 1.0;
  params.clip = 0;
  const Distilled result = Distill("ffn:50%", params);
  EXPECT_THAT(result.complaint, testing::HasSubstr("the held-out loss ended at"));
  EXPECT_EQ(result.loss, result.refit_loss);
}

TEST_F(DistillTest, ALossThatIsNoNumberEndsTheTraining) {
  BldParams params = QuickParams();
  params.lr = 1e30;
  params.clip = 0;
  StoppingContext context(folder_ / "savepoint");
  const Distilled result = Distill("ffn:50%", params, context);
  EXPECT_THAT(result.complaint, testing::HasSubstr("of 54"));
  EXPECT_LT(context.rounds(), 10);
  EXPECT_EQ(result.loss, result.refit_loss);
}

// Such are blocks that were put in to make a model deeper, and what dense files have in the place
// of none: there the features are zeros too.
TEST_F(DistillTest, ASubBlockThatAddsNothingIsNothingToLearn) {
  for (const bool is_all_zeros : {false, true}) {
    ModelWeights weights = TinyModel();
    FfnWeights& ffn = weights.blocks[1].ffn;
    ffn.down.zero_();
    if (is_all_zeros) {
      ffn.gate.zero_();
      ffn.up.zero_();
    }
    ExpectNothingToLearn(weights, is_all_zeros ? "zeros" : "idle");
  }
}

TEST_F(DistillTest, TheLossPerTokenTrainsAsWell) {
  BldParams params = QuickParams();
  params.loss = "token";
  const Distilled result = Distill("ffn:50%", params);
  EXPECT_LT(result.loss, result.init_loss);
  EXPECT_NE(result.init_loss, Distill("ffn:50%", QuickParams()).init_loss);
}

TEST_F(DistillTest, NothingToTrainOnIsAnError) {
  BldParams params = QuickParams();
  params.holdout = 40;
  EXPECT_THROW((void)Distill("ffn:50%", params), Error);
}

TEST_F(DistillTest, ImportanceOfAnotherModelIsRefused) {
  const auto run = [&](int64_t layers, int64_t channels, int64_t kv_heads) {
    Importance importance;
    for (int64_t layer = 0; layer < layers; ++layer) {
      importance.channel_order.push_back(at::arange(channels, at::kLong));
      importance.head_scores.push_back(at::ones({kv_heads}));
    }
    FakeInputs inputs;
    inputs.Add("parent", "parent", Checkpoint{parent_.weights(), {}, {}, {}})
        .Add("activations", "states", states_)
        .Add("importance", "importance", importance);
    BldParams params = QuickParams();
    params.epochs = 0;
    params.layer = 1;
    params.variant = "ffn:50%";
    FakeContext context;
    (void)RunBld(params, inputs, context);
  };
  const auto complaint = [&](int64_t layers, int64_t channels, int64_t kv_heads) {
    return ErrorOf([&] { run(layers, channels, kv_heads); });
  };
  EXPECT_NO_THROW(run(2, 48, 2));
  const auto is_named = HasSubstr("the importance is that of another model");
  EXPECT_THAT(complaint(1, 48, 2), is_named);
  EXPECT_THAT(complaint(3, 48, 2), is_named);
  EXPECT_THAT(complaint(2, 16, 2), is_named);
  EXPECT_THAT(complaint(2, 96, 2), is_named);
  EXPECT_THAT(complaint(2, 48, 4), is_named);
}

TEST_F(DistillTest, TheParentsOwnSubBlockScoresNothing) {
  EXPECT_NEAR(Score("ffn:100%").Mean(Metric::kKl), 0, 1e-6);
  EXPECT_NEAR(Score("attn:kv2").Mean(Metric::kKl), 0, 1e-6);
}

TEST_F(DistillTest, AScoreFromTheCachedStateEqualsTheWholeForwardPass) {
  for (const char* variant : {"ffn:none", "attn:none", "ffn:25%"}) {
    const VariantSpec spec = ResolveVariant(variant, parent_.config(), 1);
    ModelWeights replaced = parent_.weights();
    Replace(replaced, 1, spec, InitVariant(parent_.weights(), 1, spec));
    const TokenMetrics whole =
        EvaluateModel(Transformer(replaced), &parent_, tokens_, 0, 8, [](double) {});
    const TokenMetrics score = Score(variant);
    EXPECT_EQ(score.tokens, whole.tokens);
    for (const MetricInfo& info : AllMetrics()) {
      EXPECT_NEAR(score.Mean(info.metric), whole.Mean(info.metric), 1e-5) << variant << info.name;
      EXPECT_NEAR(score.Error(info.metric), whole.Error(info.metric), 1e-5) << variant << info.name;
    }
    EXPECT_GT(score.Mean(Metric::kKl), 1e-4) << variant;
  }
  const TokenMetrics as_is = ScoreAsIs({parent_, states_}, FoldedFor(parent_), 8).Sum();
  EXPECT_NEAR(as_is.Mean(Metric::kNll),
              EvaluateModel(parent_, nullptr, tokens_, 0, 8, [](double) {}).Mean(Metric::kNll),
              1e-5);
  EXPECT_NEAR(as_is.Mean(Metric::kKl), 0, 1e-6);
}

TEST_F(DistillTest, AScoreInAChildsContextIsThatOfTheChildWithTheReplacement) {
  auto with = [&](const ModelWeights& model, int64_t layer, const char* variant) {
    const VariantSpec spec = ResolveVariant(variant, parent_.config(), layer);
    ModelWeights replaced = model;
    Replace(replaced, layer, spec, InitVariant(parent_.weights(), layer, spec));
    return replaced;
  };
  const Transformer child(with(parent_.weights(), 0, "ffn:none"));
  const Activations child_states = Capture(child, "child");
  auto measured = [&](const ModelWeights& model) {
    return EvaluateModel(Transformer(model), &parent_, tokens_, 0, 8, [](double) {})
        .Mean(Metric::kKl);
  };
  EXPECT_NEAR(ScoreAsIs({child, child_states}, FoldedFor(child), 8).Sum().Mean(Metric::kKl),
              measured(child.weights()), 1e-5);
  const VariantSpec spec = ResolveVariant("attn:none", parent_.config(), 1);
  const TokenMetrics score =
      ScoreReplacement({child, child_states},
                       {1, spec, InitVariant(parent_.weights(), 1, spec), {}}, FoldedFor(child), 8,
                       [](double) {})
          .Sum();
  EXPECT_NEAR(score.Mean(Metric::kKl), measured(with(child.weights(), 1, "attn:none")), 1e-5);
}

TEST_F(DistillTest, AnswersAreWhatTheParentsSubBlocksAddToItsStates) {
  const at::NoGradGuard no_grad;
  const ModelConfig& config = parent_.config();
  at::Tensor x = LayerInput(parent_, states_, 1, 0, states_.sequences());
  for (const SubBlock which : {SubBlock::kAttention, SubBlock::kFfn}) {
    const VariantSpec spec = ParentVariant(config, 1, which);
    const at::Tensor behind =
        ApplySubBlock(SubBlockOf(parent_.weights(), 1, which), spec, config, parent_.rotary(), x);
    for (const auto products : {at::kFloat, at::kBFloat16}) {
      const SubBlockData data = DataOf(which, products);
      const double scale = (behind - x).abs().max().item<double>();
      EXPECT_TENSORS_NEAR(data.target.to(at::kFloat), behind - x, 0.02 * scale);
      EXPECT_TENSORS_NEAR(data.input.to(at::kFloat), InputOf(spec, config, x), 0.02);
    }
    x = behind;
  }
}

TEST_F(DistillTest, CandidatesForAnFfnMayShareTheStatesInFrontOfIt) {
  const Captured captured{parent_, states_};
  const at::Tensor before = StatesBeforeFfn(captured, 1, 5);
  for (const char* variant : {"ffn:50%", "ffn:linear", "ffn:none"}) {
    const VariantSpec spec = ResolveVariant(variant, parent_.config(), 1);
    const Replacement shared{1, spec, InitVariant(parent_.weights(), 1, spec), before};
    const TokenMetrics score =
        ScoreReplacement(captured, shared, FoldedFor(parent_), 7, [](double) {}).Sum();
    EXPECT_NEAR(score.Mean(Metric::kKl), Score(variant).Mean(Metric::kKl), 1e-6) << variant;
  }
}

TEST_F(DistillTest, AWholeBlocksScoreIsThatOfTheModelWithoutItsTwoSubBlocks) {
  ModelWeights without = parent_.weights();
  Replace(without, 1, AttentionSpec{SubBlockForm::kNone, 0}, AttentionWeights{});
  Replace(without, 1, FfnSpec{SubBlockForm::kNone, 0}, FfnWeights{});
  const TokenMetrics whole =
      EvaluateModel(Transformer(without), &parent_, tokens_, 0, 8, [](double) {});
  EXPECT_NEAR(Score("none").Mean(Metric::kKl), whole.Mean(Metric::kKl), 1e-5);
  EXPECT_NEAR(Score("attn:kv2+ffn:100%").Mean(Metric::kKl), 0, 1e-6);
}

TEST_F(DistillTest, StatesThatWereNotKeptAreComputed) {
  for (const int64_t stride : {2, 3, 0}) {
    const Activations sparse = Capture(parent_, "parent", stride);
    EXPECT_EQ(sparse.Keeps(2), stride == 2);
    EXPECT_EQ(sparse.Keeps(0), stride > 0);
    const std::vector<Tensor> rows = LayerInputs(parent_, sparse, {5, 2});
    for (int64_t layer = 0; layer <= 2; ++layer) {
      const Tensor stored = states_.Read(layer, 2, 4);
      EXPECT_TENSORS_NEAR(LayerInput(parent_, sparse, layer, 2, 4), stored, 1e-5);
      EXPECT_TENSORS_NEAR(rows[static_cast<size_t>(layer)], at::stack({stored[3], stored[0]}),
                          1e-5);
    }
    const FoldedParent folded = FoldCaptured(parent_, {parent_, sparse}, 8);
    EXPECT_TENSORS_NEAR(folded.expected_row, FoldedFor(parent_).expected_row, 1e-5);
  }
}

TEST(CaptureTest, TheStrideIsTheSmallestThatFits) {
  // Nine states of a MiB each.
  const Activations::Layout layout{9, 16, 256, 128, DType::kBF16};
  EXPECT_EQ(StrideWithin(layout, 0), 1);
  EXPECT_EQ(StrideWithin(layout, 9), 1);
  EXPECT_EQ(StrideWithin(layout, 8), 2);  // 0, 2, 4, 6, 8
  EXPECT_EQ(StrideWithin(layout, 5), 2);
  EXPECT_EQ(StrideWithin(layout, 4), 3);  // 0, 3, 6
  EXPECT_EQ(StrideWithin(layout, 1), 9);
  EXPECT_EQ(StrideWithin({9, 16, 512, 128, DType::kBF16}, 1), 0);
}

TEST_F(DistillTest, EvaluationStopsAtTheWantedPosition) {
  EXPECT_EQ(EvaluateModel(parent_, nullptr, tokens_, 37, 2, [](double) {}).tokens, 37);
  EXPECT_EQ(EvaluateModel(parent_, nullptr, tokens_, 100000, 8, [](double) {}).tokens, 40 * 15);
  TokenSet wrong = tokens_;
  wrong.ids[5] = 40;
  EXPECT_THROW((void)EvaluateModel(parent_, nullptr, wrong, 0, 8, [](double) {}), Error);
}

TEST_F(DistillTest, NanIsReportedWhereItArises) {
  ModelWeights broken = Clone(parent_.weights());
  broken.blocks[1].ffn.down.fill_(std::numeric_limits<float>::quiet_NaN());
  const Transformer model(broken);
  const auto nothing = [](double) {};
  EXPECT_THAT(ErrorOf([&] { (void)EvaluateModel(model, nullptr, tokens_, 0, 8, nothing); }),
              HasSubstr("NaN or infinity in the output of layer 1 of the model"));
  EXPECT_THAT(ErrorOf([&] { (void)EvaluateModel(parent_, &model, tokens_, 0, 8, nothing); }),
              HasSubstr("the output of layer 1 of the parent"));
  FakeInputs inputs;
  inputs.Add("parent", "broken", Checkpoint{broken, {}, {}, {}})
      .Add("tokens", "tokens", tokens_)
      .Add("activations", "states", Capture(model, "broken", 0))
      .Add("block", "block",
           Block{1, "ffn:none", FfnSpec{SubBlockForm::kNone, 0}, false, FfnWeights{}, nullptr});
  FakeContext context;
  EXPECT_THAT(ErrorOf([&] { (void)RunScore({}, inputs, context); }),
              HasSubstr("the output of layer 1 of the parent"));
  auto archive = Hdf5Format().create(folder_ / "broken_states.h5");
  EXPECT_THAT(ErrorOf([&] { RunActivations({}, inputs, context, *archive); }),
              HasSubstr("the output of the parent's layer 1"));
}

TEST_F(DistillTest, OnlyParentsThatFitAreComparedWith) {
  const auto complaint = [&](const ModelConfig& parent, int64_t ids) {
    TokenSet tokens = tokens_;
    tokens.vocab_size = ids;
    return ErrorOf([&] { CheckComparable(parent_.config(), parent, tokens); });
  };
  ModelConfig other = TinyConfig();
  EXPECT_NO_THROW(CheckComparable(parent_.config(), other, tokens_));
  other.vocab_size = 48;  // padded
  EXPECT_NO_THROW(CheckComparable(parent_.config(), other, tokens_));
  EXPECT_THAT(complaint(other, 44), HasSubstr("a vocabulary of 40, the parent of 48, and the "
                                              "tokenizer has 44 ids"));
  other = TinyConfig();
  other.hidden_size = 64;
  EXPECT_THAT(complaint(other, 40), HasSubstr("hidden size is 32, the parent's 64"));
  other = TinyConfig();
  other.max_positions = 8;
  EXPECT_THAT(complaint(other, 40), HasSubstr("the parent has 8 positions"));
}

TEST_F(DistillTest, GlobalDistillationRefusesStatesOfOtherTokensWhereverTheyDiffer) {
  const auto run = [&](const TokenSet& tokens) {
    FakeInputs inputs;
    inputs.Add("teacher", "parent", Checkpoint{parent_.weights(), {}, {}, {}})
        .Add("student", "child", Checkpoint{parent_.weights(), {}, {}, {}})
        .Add("tokens", "tokens", tokens)
        .Add("activations", "states", states_);
    GkdParams params;
    params.steps = 1;
    FakeContext context;
    return RunGkd(params, inputs, context);
  };
  EXPECT_NO_THROW(run(tokens_));
  TokenSet other = tokens_;
  other.ids.back() = (other.ids.back() + 1) % 40;
  EXPECT_THROW(run(other), Error);
}

TEST_F(DistillTest, EvaluationMeasuresThePredictionsThatWereAskedFor) {
  const at::NoGradGuard no_grad;
  const Tensor ids = tokens_.Batch(0, tokens_.sequences());
  const Tensor log_p = parent_.Logits(ids.narrow(1, 0, 15)).log_softmax(-1).flatten(0, 1);
  const Tensor nll = -log_p.gather(1, NextTokens(ids).unsqueeze(1)).squeeze(1);
  // Less than a sequence, some whole ones and a part, a whole number, all but one.
  for (const int64_t positions : {1, 7, 37, 45, 40 * 15 - 1}) {
    for (const int64_t batch : {1, 3, 8}) {
      const TokenMetrics metrics =
          EvaluateModel(parent_, &parent_, tokens_, positions, batch, [](double) {});
      EXPECT_EQ(metrics.tokens, positions);
      EXPECT_NEAR(metrics.Mean(Metric::kNll), nll.narrow(0, 0, positions).mean().item<double>(),
                  1e-5);
      EXPECT_NEAR(metrics.Mean(Metric::kKl), 0, 1e-6);
    }
  }
}

TEST_F(DistillTest, ScoresInBf16AreThoseOfRoundedMatrices) {
  const at::NoGradGuard no_grad;
  const Transformer low = WithMatricesIn(at::kBFloat16, parent_);
  EXPECT_EQ(low.weights().HeadMatrix().scalar_type(), at::kBFloat16);
  EXPECT_EQ(parent_.weights().HeadMatrix().scalar_type(), at::kFloat);
  const Captured captured{low, states_};
  const FoldedParent folded = FoldCaptured(low, captured, 3);
  EXPECT_NEAR(ScoreAsIs(captured, folded, 8).Sum().Mean(Metric::kKl), 0, 1e-9);
  for (const char* variant : {"attn:kv1", "attn:none", "ffn:50%", "ffn:none"}) {
    const VariantSpec spec = ResolveVariant(variant, parent_.config(), 1);
    const TokenMetrics score =
        ScoreReplacement(captured, {1, spec, InitVariant(parent_.weights(), 1, spec), {}}, folded,
                         7, [](double) {})
            .Sum();
    const double exact = Score(variant).Mean(Metric::kKl);
    EXPECT_NEAR(score.Mean(Metric::kKl), exact, 0.05 * exact + 1e-3) << variant;
    EXPECT_NE(score.Mean(Metric::kKl), exact) << variant;
  }
}

// The parent with narrow FFNs, and the global distillation of it.
class GlobalTest : public DistillTest {
 protected:
  ModelWeights Child() {
    ModelWeights child = Clone(parent_.weights());
    for (int64_t layer = 0; layer < 2; ++layer) {
      const VariantSpec spec = ResolveVariant("ffn:25%", parent_.config(), layer);
      Replace(child, layer, spec, InitVariant(parent_.weights(), layer, spec));
    }
    return child;
  }
  GlobalDistillation Distill(const Transformer& student, const GkdParams& params,
                             RunContext& context) {
    const TeacherStates teacher_states = [&](const std::vector<int64_t>& rows) {
      std::vector<Tensor> all = {parent_.Embed(tokens_.Rows(rows))};
      for (int64_t layer = 0; layer < 2; ++layer)
        all.push_back(parent_.Blocks(all.back(), layer, layer + 1));
      return all;
    };
    return DistillGlobally({{parent_, teacher_states}}, student, tokens_, params, 1, context);
  }
  double Kl(const Transformer& student, const TokenSet& tokens) {
    return EvaluateModel(student, &parent_, tokens, 0, 8, [](double) {}).Mean(Metric::kKl);
  }
  // The last sequences.
  TokenSet HeldOut(int64_t sequences) {
    TokenSet last = tokens_;
    last.ids.assign(tokens_.ids.end() - 16 * sequences, tokens_.ids.end());
    return last;
  }
};

TEST_F(GlobalTest, BringsTheChildCloserToItsParent) {
  const Transformer student(Child());
  const double before = Kl(student, tokens_);
  const double before_held_out = Kl(student, HeldOut(4));
  GkdParams params;
  params.steps = 60;
  params.lr = 2e-3;
  FakeContext context;
  const GlobalDistillation end = Distill(student, params, context);
  EXPECT_LT(Kl(student, tokens_), 0.5 * before);
  EXPECT_NEAR(end.held_out_before, before_held_out, 1e-6);
  EXPECT_NEAR(end.held_out, Kl(student, HeldOut(4)), 1e-6);
  EXPECT_GT(end.best_step, 0);
}

TEST_F(GlobalTest, NeitherThreadsNorRecomputedBlocksChangeABit) {
  const auto distilled = [&](int threads, const std::string& recompute,
                             const std::string& compute) {
    const ThreadsGuard guard(threads);
    Transformer student(Child());
    GkdParams params;
    params.steps = 3;
    params.batch = 7;
    params.recompute = recompute;
    params.compute = compute;
    FakeContext context;
    (void)Distill(student, params, context);
    return student.weights();
  };
  for (const char* compute : {"fp32", "bf16"}) {
    ModelWeights expected = distilled(1, "off", compute);
    for (const int with_threads : {1, 3}) {
      for (const char* recompute : {"off", "on", "auto"}) {
        ModelWeights weights = distilled(with_threads, recompute, compute);
        ExpectSameBits(Slots(weights), Slots(expected));
      }
    }
  }
}

TEST_F(GlobalTest, ProductsWithTheVocabularyMayBeBf16) {
  const auto distilled = [&](const std::string& head_compute) {
    const Transformer student(Child());
    GkdParams params;
    params.steps = 40;
    params.lr = 2e-3;
    params.head_compute = head_compute;
    FakeContext context;
    return Distill(student, params, context);
  };
  const GlobalDistillation exact = distilled("fp32"), low = distilled("bf16");
  EXPECT_EQ(low.held_out_before, exact.held_out_before);  // measured in fp32
  EXPECT_LT(exact.held_out, 0.9 * exact.held_out_before);
  EXPECT_NEAR(low.held_out, exact.held_out, 0.03 * exact.held_out_before);
  if (HasFastBf16("cpu")) {
    EXPECT_NE(low.held_out, exact.held_out);
  }
}

TEST_F(GlobalTest, NeverReturnsAWorseChild) {
  ModelWeights child = Child();
  const Transformer student(Clone(child));
  GkdParams params;
  params.steps = 6;
  params.lr = 0.9;
  FakeContext context;
  const GlobalDistillation end = Distill(student, params, context);
  EXPECT_EQ(end.best_step, 0);
  EXPECT_EQ(end.held_out, end.held_out_before);
  EXPECT_TRUE(student.weights().embedding.equal(child.embedding));
  EXPECT_EQ(Kl(student, tokens_), Kl(Transformer(child), tokens_));
}

TEST_F(GlobalTest, KeepsTheBestWhenTheTrainingDiverges) {
  ModelWeights child = Child();
  const Transformer student(Clone(child));
  GkdParams params;
  params.steps = 40;
  params.lr = 1.0;
  params.weight_decay = 0;
  params.lm_weight = std::numeric_limits<double>::infinity();  // the first loss is none
  FakeContext context;
  EXPECT_EQ(Distill(student, params, context).best_step, 0);
  EXPECT_THAT(context.warnings,
              testing::ElementsAre(
                  testing::AllOf(HasSubstr("diverged at step 0"), HasSubstr("its cross entropy"))));
  EXPECT_TRUE(student.weights().embedding.equal(child.embedding));
  params.holdout = 0;
  EXPECT_THROW((void)Distill(student, params, context), Error);
}

TEST_F(GlobalTest, ThatIsStoppedEndsWithTheBitsOfOneThatIsNot) {
  GkdParams params;
  params.steps = 12;
  params.lr = 0.05;  // so that the best state is not the last
  FakeContext undisturbed;
  const Transformer expected(Child());
  const GlobalDistillation end = Distill(expected, params, undisturbed);
  StoppingContext context(folder_ / "savepoint");
  for (const int round : {7, 3}) {
    context.StopAt(round);
    EXPECT_THROW((void)Distill(Transformer(Child()), params, context), Cancelled);
  }
  context.StopAt(-1);
  const Transformer resumed(Child());
  const GlobalDistillation again = Distill(resumed, params, context);
  EXPECT_EQ(again.loss, end.loss);
  EXPECT_EQ(again.held_out, end.held_out);
  EXPECT_EQ(again.held_out_before, end.held_out_before);
  EXPECT_EQ(again.best_step, end.best_step);
  EXPECT_TRUE(resumed.weights().embedding.equal(expected.weights().embedding));
}

TEST_F(DistillTest, BldThatIsStoppedEndsWithTheBitsOfBldThatIsNot) {
  const Distilled expected = Distill("attn:kv1+ffn:50%", QuickParams());
  StoppingContext context(folder_ / "savepoint");
  for (const int round : {20, 17}) {
    context.StopAt(round);
    EXPECT_THROW((void)Distill("attn:kv1+ffn:50%", QuickParams(), context), Cancelled);
  }
  context.StopAt(-1);
  Distilled resumed = Distill("attn:kv1+ffn:50%", QuickParams(), context);
  EXPECT_LT(context.rounds(), 54 - 17) << "it did not begin anew";
  EXPECT_EQ(resumed.init_loss, expected.init_loss);
  EXPECT_EQ(resumed.refit_loss, expected.refit_loss);
  EXPECT_EQ(resumed.loss, expected.loss);
  const VariantSpec spec = ResolveVariant("attn:kv1+ffn:50%", parent_.config(), 1);
  SubBlockWeights wanted = expected.weights;
  ExpectSameBits(Slots(resumed.weights, spec), Slots(wanted, spec));
}

TEST_F(DistillTest, ATrainingThatIsStoppedTwiceEndsWithTheBitsOfOneThatIsNot) {
  PretrainParams params;
  params.layers = 1;
  params.hidden = 16;
  params.heads = params.kv_heads = 2;
  params.ffn = 24;
  params.steps = 12;
  const FakeInputs inputs = FakeInputs().Add("tokens", "t", tokens_);
  FakeContext undisturbed;
  const Checkpoint expected = RunPretrain(params, inputs, undisturbed);
  StoppingContext context(folder_ / "savepoint");
  for (const int round : {5, 3}) {
    context.StopAt(round);
    EXPECT_THROW((void)RunPretrain(params, inputs, context), Cancelled);
  }
  EXPECT_EQ(static_cast<int>(context.LastSavePoint()->Attribute("step")), 8);
  context.StopAt(4 + 1);  // there are four left
  Checkpoint resumed = RunPretrain(params, inputs, context);
  EXPECT_EQ(resumed.figures.at("loss"), expected.figures.at("loss"));
  ModelWeights wanted = expected.model;
  ExpectSameBits(Slots(resumed.model), Slots(wanted));
}

}  // namespace
}  // namespace puzzle
