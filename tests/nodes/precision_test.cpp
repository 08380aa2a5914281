// Types for parts of a model: what they cost in quality is the KL of the dequantised model, what
// they cost in bytes is the file, and the choice is the best there is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "io/error.h"
#include "io/gguf.h"
#include "io/hdf5_archive.h"
#include "model/files/checkpoint.h"
#include "model/files/gguf_checkpoint.h"
#include "nodes/data/export_model.h"
#include "nodes/measure/evaluate.h"
#include "nodes/precision/mixture.h"
#include "nodes/precision/precision_score.h"
#include "nodes/precision/precision_search.h"
#include "nodes/precision/quantize.h"
#include "nodes/states/activations.h"
#include "tests/io/temp_folder.h"
#include "tests/io/test_files.h"
#include "tests/model/same_bits.h"
#include "tests/model/tiny_model.h"
#include "tests/nodes/fake_inputs.h"

namespace puzzle {
namespace {

using at::Tensor;
using testing::HasSubstr;

constexpr int64_t kPrecisionLength = 16;

class PrecisionTest : public testing::Test {
 protected:
  PrecisionTest() {
    ModelConfig config = TinyConfig();
    config.blocks = {{{SubBlockForm::kFull, 2}, {SubBlockForm::kFull, 64}},
                     {{SubBlockForm::kNone, 0}, {SubBlockForm::kFull, 48}}};
    model_.model = TinyModel(config);
    parent_.model = TinyModel();
    config.tied_embeddings = false;
    untied_.model = TinyModel(config);
    tokens_.length = kPrecisionLength;
    tokens_.vocab_size = 40;
    for (int i = 0; i < 5 * kPrecisionLength; ++i) tokens_.ids.push_back((i * i + i / 3) % 40);
  }

  Activations Capture(const Checkpoint& checkpoint, const std::string& name) {
    FakeInputs inputs;
    inputs.Add("parent", name, checkpoint).Add("tokens", "t", tokens_);
    ActivationsParams params;
    params.dtype = "fp32";
    FakeContext context;
    const std::string path = folder_ / (name + ".h5");
    auto archive = Hdf5Format().create(path);
    RunActivations(params, inputs, context, *archive);
    archive->Close();
    return Activations::Load(Hdf5Format().open(path));
  }

  // Scores of a child, or of the parent itself where the child is none.
  PrecisionScore ScoreOf(const Checkpoint* child, const std::string& part, int64_t layer) {
    FakeInputs inputs;
    inputs.Add("parent", "parent", parent_).Add("activations", "p", Capture(parent_, "parent"));
    if (child != nullptr)
      inputs.Add("context", "child", *child)
          .Add("context_activations", "c", Capture(*child, "child"));
    PrecisionScoreParams params;
    params.part = part;
    params.layer = layer;
    params.batch = 2;
    context_ = FakeContext();
    return RunPrecisionScore(params, inputs, context_);
  }
  std::vector<PrecisionScore> AllScores(const Checkpoint& child) {
    std::vector<PrecisionScore> scores = {ScoreOf(&child, "head", 0), ScoreOf(&child, "embed", 0)};
    for (int64_t layer = 0; layer < 2; ++layer)
      for (const char* part : {"ffn", "attn"}) scores.push_back(ScoreOf(&child, part, layer));
    return scores;
  }

  // The parent's distribution against that of a model, from whole rows of logits.
  double KlOf(const ModelWeights& weights) const {
    const at::NoGradGuard no_grad;
    const auto log_p = [&](const ModelWeights& w) {
      return Transformer(w)
          .Logits(tokens_.Batch(0, tokens_.sequences()))
          .narrow(1, 0, kPrecisionLength - 1)
          .to(at::kDouble)
          .log_softmax(-1);
    };
    const Tensor own = log_p(weights), parents = log_p(parent_.model);
    return (parents.exp() * (parents - own)).sum(-1).mean().item<double>();
  }

  TempFolder folder_;
  Checkpoint parent_, model_, untied_;
  TokenSet tokens_;
  FakeContext context_;
};

TEST_F(PrecisionTest, AScoreIsTheKlThatTheDequantisedPartAdds) {
  const struct {
    const char *part, *name, *variant;
    int64_t layer;
  } kParts[] = {{"embed", "embed", "embed", 0},
                {"head", "head", "head", 0},
                {"attn", "layer 0 attn", "attn:kv2", 0},
                {"ffn", "layer 0 ffn", "ffn:64", 0}};
  for (const auto& [part, name, variant, layer] : kParts) {
    const PrecisionScore score = ScoreOf(&untied_, part, layer);
    EXPECT_EQ(score.part, name);
    EXPECT_EQ(score.variant, variant);
    ASSERT_EQ(score.options.size(), PrecisionTypes().size()) << name;
    for (const auto& [type, increase] : score.options) {
      const ModelWeights stored = StoredAs(untied_.model, {{name, &StoredTypeNamed(type)}});
      const double expected = KlOf(stored) - KlOf(untied_.model);
      EXPECT_NEAR(increase.Mean(Metric::kKl), expected, 1e-5 + 1e-4 * std::abs(expected))
          << name << " " << type;
    }
  }
}

TEST_F(PrecisionTest, ATiedHeadIsStoredWithTheEmbedding) {
  const PrecisionScore both = ScoreOf(&model_, "embed", 0);
  const PrecisionScore::Option& last = both.options.back();
  EXPECT_EQ(last.type, "q4_0");
  const ModelWeights stored = StoredAs(model_.model, {{"embed", &StoredTypeNamed("q4_0")}});
  EXPECT_NEAR(last.increase.Mean(Metric::kKl), KlOf(stored) - KlOf(model_.model), 1e-5);
  EXPECT_TRUE(ScoreOf(&model_, "head", 0).options.empty());
}

TEST_F(PrecisionTest, WithoutAChildTheParentIsMeasured) {
  const PrecisionScore score = ScoreOf(nullptr, "attn", 1);
  EXPECT_EQ(score.model_digest, "parent");
  const ModelWeights stored = StoredAs(parent_.model, {{"layer 1 attn", &StoredTypeNamed("q4_0")}});
  EXPECT_NEAR(score.options.back().increase.Mean(Metric::kKl), KlOf(stored), 1e-5);
}

TEST_F(PrecisionTest, WhatIsNotThereHasNoScores) {
  EXPECT_TRUE(ScoreOf(&model_, "attn", 1).options.empty());  // none
  EXPECT_THAT(ErrorOf([&] { (void)ScoreOf(&model_, "attn", 2); }),
              HasSubstr("the model has layers 0 to 1"));
}

TEST_F(PrecisionTest, TypesThatDoNotDivideARowAreLeftOutAndSaid) {
  const PrecisionScore score = ScoreOf(&model_, "ffn", 1);  // 48 channels
  ASSERT_EQ(score.options.size(), 1u);
  EXPECT_EQ(score.options[0].type, "f16");
  ASSERT_EQ(context_.warnings.size(), 5u);
  EXPECT_THAT(context_.warnings[0], HasSubstr("ffn:48@q8_0 is left out: "));
  EXPECT_THAT(context_.warnings[0], HasSubstr("rows of 48 elements"));
}

// The least sum of scores, against those of the first type, among all choices whose file is small
// enough; files are counted anew.
std::optional<double> BruteForce(const Checkpoint& checkpoint,
                                 const std::vector<PrecisionScore>& scores, double max_mib) {
  std::optional<double> best;
  std::vector<size_t> choice(scores.size(), 0);
  for (bool is_last = false; !is_last;) {
    StoredTypes types;
    double sum = 0;
    for (size_t i = 0; i < scores.size(); ++i) {
      if (scores[i].options.empty()) continue;
      const PrecisionScore::Option& option = scores[i].options[choice[i]];
      types[scores[i].part] = &StoredTypeNamed(option.type);
      sum +=
          option.increase.Mean(Metric::kKl) - scores[i].options.front().increase.Mean(Metric::kKl);
    }
    const GgufSizes sizes = SizesInGguf(
        checkpoint.model, {&StoredTypeNamed("f16"), {}, checkpoint.tokenizer_files, types});
    if (static_cast<double>(sizes.file) / 1048576 <= max_mib && (!best || sum < *best)) best = sum;
    size_t i = 0;
    while (i < choice.size() && ++choice[i] >= std::max<size_t>(1, scores[i].options.size()))
      choice[i++] = 0;
    is_last = i == choice.size();
  }
  return best;
}

TEST_F(PrecisionTest, TheChoiceIsTheBestOfAllThatFit) {
  std::vector<PrecisionScore> scores = AllScores(model_);
  PrecisionParams params;
  const auto choose = [&](double mib) {
    params.max = {{"file_mib", mib}};
    return ChoosePrecision(params, model_, scores, [] { return false; });
  };
  const double most = choose(1).file_mib;
  int tried = 0;
  for (const double share : {0.95, 0.9, 0.85, 0.8, 0.75}) {
    const std::optional<double> best = BruteForce(model_, scores, share * most);
    if (!best) continue;
    ++tried;
    const Precision precision = choose(share * most);
    EXPECT_EQ(precision.status, "optimal");
    EXPECT_NEAR(precision.objective, *best, 1e-9 + 1e-6 * std::abs(*best));
    EXPECT_LE(precision.file_mib, share * most);
  }
  EXPECT_GE(tried, 3);
  EXPECT_THAT(ErrorOf([&] { (void)choose(0.3 * most); }), HasSubstr("infeasible"));
  scores.pop_back();  // the attention that is none
  scores.erase(scores.begin() + 3);
  EXPECT_THAT(ErrorOf([&] { (void)choose(1); }), HasSubstr("layer 0 attn: there is no score"));
}

TEST_F(PrecisionTest, AFileLikeAnotherIsNoLarger) {
  ModelConfig config = untied_.model.config;
  config.blocks[1].ffn.size = 32;
  Checkpoint model;
  model.model = TinyModel(config);
  const std::vector<PrecisionScore> scores = AllScores(model);
  for (const std::string type : {"q8_0", "q5_0", "q4_0"}) {
    PrecisionParams params;
    params.like = type;
    const Precision precision = ChoosePrecision(params, model, scores, [] { return false; });
    const auto uniform = ExportGguf(model, folder_ / "u.gguf", type);
    const auto mixed = ExportGguf(model, folder_ / "m.gguf", kRestType, {}, precision.Types());
    EXPECT_EQ(precision.file_mib * 1048576, static_cast<double>(mixed));
    EXPECT_LE(mixed, uniform);
    EXPECT_THAT(precision.comparison, HasSubstr("\n" + type + " "));
    if (type != "q4_0") continue;
    for (const auto& [part, ggml] : precision.Types()) EXPECT_EQ(ggml->name, "Q4_0") << part;
  }
}

TEST_F(PrecisionTest, AFileLikeF16MayHaveItThroughout) {
  std::vector<PrecisionScore> scores = AllScores(untied_);
  for (PrecisionScore& score : scores)
    std::erase_if(score.options, [](const auto& option) { return option.type != "f16"; });
  PrecisionParams params;
  params.like = "f16";
  const Precision precision = ChoosePrecision(params, untied_, scores, [] { return false; });
  EXPECT_EQ(precision.picks.size(), 5u);
  const auto mixed = ExportGguf(untied_, folder_ / "m.gguf", kRestType, {}, precision.Types());
  EXPECT_EQ(precision.file_mib * 1048576, static_cast<double>(mixed));
}

class PrecisionFileTest : public PrecisionTest {
 protected:
  PrecisionFileTest() {
    PrecisionParams params;
    params.max = {{"file_mib", "70%"}};
    precision_ = RunPrecision(params, Scored(), context_);
  }
  // The ports of `precision`.
  FakeInputs Scored() {
    FakeInputs inputs;
    inputs.Add("model", "child", model_);
    for (const PrecisionScore& score : AllScores(model_)) inputs.Add("scores", score.part, score);
    return inputs;
  }
  ExportManifest Export(const std::string& digest) {
    FakeInputs inputs;
    inputs.Add("model", digest, model_).Add("precision", "x", precision_);
    return RunExport({folder_ / "out", "gguf", "same"}, inputs, context_);
  }
  Precision precision_;
};

TEST_F(PrecisionFileTest, ExportWritesWhatQuantizeGivesForMeasuring) {
  const ExportManifest manifest = Export("child");
  EXPECT_EQ(static_cast<double>(manifest.files.at("model.gguf")), precision_.file_mib * 1048576);
  ModelWeights loaded = LoadCheckpoint(folder_ / "out/model.gguf");
  FakeInputs inputs;
  inputs.Add("model", "child", model_).Add("precision", "x", precision_);
  Checkpoint quantized = RunQuantize({}, inputs, context_);
  EXPECT_EQ(quantized.figures.at(kFileMib), precision_.file_mib);
  const Tensor ids = tokens_.Batch(0, 2);
  EXPECT_TENSORS_NEAR(Transformer(loaded).Logits(ids), Transformer(quantized.model).Logits(ids),
                      1e-4);
  EXPECT_TRUE(loaded.embedding.equal(quantized.model.embedding));
  EXPECT_FALSE(loaded.embedding.equal(model_.model.embedding));
}

TEST_F(PrecisionFileTest, AFileMayBeAsLargeAsTheParents) {
  ModelConfig config = model_.model.config;
  config.blocks[1].ffn.size = 32;
  model_.model = TinyModel(config);
  config.blocks.assign(2, {{SubBlockForm::kFull, 2}, {SubBlockForm::kFull, 64}});
  parent_.model = TinyModel(config);
  PrecisionParams params;
  params.like = "q5_0";
  FakeInputs inputs = Scored();
  const double own = RunPrecision(params, inputs, context_).file_mib;
  inputs.Add("parent", "parent", parent_);
  const double like_parent = RunPrecision(params, inputs, context_).file_mib;
  EXPECT_GT(like_parent, own);
  EXPECT_LE(like_parent * 1048576,
            static_cast<double>(ExportGguf(parent_, folder_ / "parent.gguf", "q5_0")));
}

TEST_F(PrecisionFileTest, EvaluationsSayTheSizeOfTheFile) {
  FakeInputs inputs;
  inputs.Add("model", "child", model_);
  QuantizeParams params;
  params.type = "f16";
  const Checkpoint quantized = RunQuantize(params, inputs, context_);
  FakeInputs measured;
  measured.Add("model", "q", quantized).Add("tokens", "t", tokens_);
  EXPECT_EQ(RunEvaluate({}, measured, context_).weights_mib,
            static_cast<double>(ExportGguf(model_, folder_ / "f.gguf", "f16")) / 1048576);
}

// llama.cpp's presets leave the head, or a tied embedding, in more bits.
TEST_F(PrecisionFileTest, SomePartsMayDifferFromTheType) {
  FakeInputs inputs;
  inputs.Add("model", "untied", untied_);
  QuantizeParams params;
  params.type = "f16";
  params.parts = {"head=q8_0", "attn:0=q4_0"};
  const Checkpoint made = RunQuantize(params, inputs, context_);
  const StoredTypes types = MixtureOf(params.parts, untied_.model.config);
  EXPECT_EQ(made.figures.at(kFileMib) * 1048576,
            static_cast<double>(ExportGguf(untied_, folder_ / "m.gguf", "f16", {}, types)));
  EXPECT_TRUE(made.model.head.equal(StoredAs(untied_.model, types).head));
  EXPECT_TRUE(made.model.embedding.equal(untied_.model.embedding.to(at::kHalf).to(at::kFloat)));
}

TEST_F(PrecisionFileTest, TypesServeWhatTrainingMakesOfTheModelAndNoOther) {
  const auto quantize = [&](const ModelConfig& config) {
    Checkpoint other;
    other.model = TinyModel(config);
    FakeInputs inputs;
    inputs.Add("model", "other", other).Add("precision", "x", precision_);
    return RunQuantize({}, inputs, context_).figures.at(kFileMib);
  };
  const auto complaint = [&](const ModelConfig& config) {
    return ErrorOf([&] { (void)quantize(config); });
  };
  EXPECT_EQ(quantize(model_.model.config), precision_.file_mib);
  EXPECT_EQ(static_cast<double>(Export("trained").files.at("model.gguf")),
            precision_.file_mib * 1048576);
  ModelConfig config = model_.model.config;
  config.blocks[0].ffn.size = 32;
  EXPECT_THAT(complaint(config), HasSubstr("chosen for another model: its layer 0 ffn is ffn:64, "
                                           "where this one has layer 0 ffn as ffn:32"));
  config = model_.model.config;
  config.blocks[1].attention = {SubBlockForm::kFull, 2};
  EXPECT_THAT(complaint(config), HasSubstr("where this one has layer 1 attn as attn:kv2"));
  EXPECT_THAT(complaint(untied_.model.config),
              HasSubstr("it has 4 parts with matrices, this one 5"));
}

TEST_F(PrecisionFileTest, ArtifactsComeBack) {
  const auto through = [&](const auto& value) {
    const std::string path = folder_ / "artifact.h5";
    auto archive = Hdf5Format().create(path);
    value.Save(*archive);
    archive->Close();
    return std::decay_t<decltype(value)>::Load(Hdf5Format().open(path));
  };
  const Precision loaded = through(precision_);
  EXPECT_EQ(loaded.Types(), precision_.Types());
  EXPECT_EQ(loaded.Listing(), precision_.Listing());
  EXPECT_EQ(loaded.file_mib, precision_.file_mib);
  EXPECT_EQ(loaded.objective, precision_.objective);
  EXPECT_EQ(loaded.model_digest, "child");
  std::filesystem::remove(folder_ / "artifact.h5");
  const PrecisionScore score = ScoreOf(&model_, "ffn", 0);
  const PrecisionScore again = through(score);
  EXPECT_EQ(again.part, "layer 0 ffn");
  ASSERT_EQ(again.options.size(), score.options.size());
  EXPECT_EQ(again.options[3].type, score.options[3].type);
  EXPECT_EQ(again.options[3].increase, score.options[3].increase);
}

TEST_F(PrecisionTest, TypesAreSaidOfAllLayersOrOfOne) {
  const ModelConfig& config = untied_.model.config;
  const auto said = [&](const std::vector<std::string>& list) {
    std::map<std::string, std::string_view> names;
    for (const auto& [part, type] : MixtureOf(list, config)) names[part] = type->name;
    return names;
  };
  EXPECT_EQ(said({}).size(), 0u);
  // The last one counts; layer 1 has no attention.
  EXPECT_EQ(said({"ffn=q4_0", "ffn:1=q8_0", "attn=f16", "embed=Q5_0", "head=q5_1"}),
            (std::map<std::string, std::string_view>{{"layer 0 ffn", "Q4_0"},
                                                     {"layer 1 ffn", "Q8_0"},
                                                     {"layer 0 attn", "F16"},
                                                     {"embed", "Q5_0"},
                                                     {"head", "Q5_1"}}));
  EXPECT_EQ(said({"ffn:1=q8_0", "ffn=q4_0"}).at("layer 1 ffn"), "Q4_0");
  const auto complaint = [](const std::string& own, const ModelConfig& of) {
    return ErrorOf([&] { (void)MixtureOf({own}, of); });
  };
  EXPECT_THAT(complaint("ffn", config), HasSubstr("expected PART=TYPE"));
  EXPECT_THAT(complaint("ffn=q9_0", config), HasSubstr("\"q9_0\" is no type"));
  for (const char* own : {"attn:1=q8_0", "attn:2=q8_0", "layer 0 ffn=f16", "=f16", "ffn:=f16",
                          "attn:00=f16", "block=f16"})
    EXPECT_THAT(complaint(own, config),
                HasSubstr("parts are embed, head, attn and ffn, and attn:0 to ffn:1"))
        << own;
  EXPECT_THAT(complaint("head=f16", model_.model.config), HasSubstr("give a type to embed"));
}

TEST(PrecisionListingTest, PartsOfALayerShareALine) {
  Precision precision;
  precision.picks = {{"embed", "embed", "q8_0", 0, 0},
                     {"layer 0 attn", "attn:kv1", "q5_1", 0, 0},
                     {"layer 0 ffn", "ffn:64", "q4_0", 0, 0},
                     {"layer 1 ffn", "ffn:linear", "f16", 0, 0},
                     {"head", "head", "q8_0", 0, 0}};
  EXPECT_EQ(precision.Listing(),
            "embed@q8_0\nlayer 0:  attn:kv1@q5_1  ffn:64@q4_0\nlayer 1:  ffn:linear@f16\n"
            "head@q8_0\n");
}

}  // namespace
}  // namespace puzzle
