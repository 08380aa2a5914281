#include "model/transformer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/error.h"
#include "tests/io/test_files.h"
#include "tests/model/tiny_model.h"

namespace puzzle {
namespace {

using at::Tensor;
using testing::HasSubstr;

Tensor Ids(int64_t batch, int64_t seq) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(uint64_t{3});
  return at::randint(40, {batch, seq}, generator, at::kLong);
}

ModelConfig MixedConfig() {
  ModelConfig config = TinyConfig();
  config.tied_embeddings = false;
  config.blocks = {{{SubBlockForm::kNone, 0}, {SubBlockForm::kFull, 24}},
                   {{SubBlockForm::kLinear, 0}, {SubBlockForm::kNone, 0}},
                   {{SubBlockForm::kFull, 1}, {SubBlockForm::kLinear, 0}},
                   {{SubBlockForm::kFull, 4}, {SubBlockForm::kFull, 48}}};
  return config;
}

TEST(TransformerTest, DecodingWithACacheGivesTheLogitsOfTheWholeSequence) {
  const at::NoGradGuard no_grad;
  for (const ModelConfig& config : {TinyConfig(), MixedConfig()}) {
    const Transformer model(TinyModel(config));
    const Tensor ids = Ids(2, 20);
    const Tensor whole = model.Logits(ids);
    KvCache cache(model.config().n_layers());
    std::vector<Tensor> parts = {model.Logits(ids.narrow(1, 0, 7), &cache)};
    for (int64_t i = 7; i < 20; ++i) parts.push_back(model.Logits(ids.narrow(1, i, 1), &cache));
    EXPECT_TENSORS_NEAR(at::cat(parts, 1), whole, 2e-4);
  }
}

TEST(TransformerTest, BlocksAreTheSumOfTheirSubBlocks) {
  const at::NoGradGuard no_grad;
  const Transformer model(TinyModel(MixedConfig()));
  const ModelConfig& config = model.config();
  Tensor x = model.Embed(Ids(2, 9));
  const Tensor expected = model.Blocks(x, 0, config.n_layers());
  for (int64_t layer = 0; layer < config.n_layers(); ++layer)
    for (SubBlock which : {SubBlock::kAttention, SubBlock::kFfn})
      x = ApplySubBlock(SubBlockOf(model.weights(), layer, which),
                        ParentVariant(config, layer, which), config, model.rotary(), x);
  EXPECT_TENSORS_NEAR(x, expected, 1e-4);
  x = model.Embed(Ids(2, 9));
  for (int64_t layer = 0; layer < config.n_layers(); ++layer)
    x = ApplySubBlock(SubBlockOf(model.weights(), layer, SubBlock::kBoth),
                      ParentVariant(config, layer, SubBlock::kBoth), config, model.rotary(), x);
  EXPECT_TENSORS_NEAR(x, expected, 1e-4);
}

TEST(TransformerTest, GradientsAgreeWithFiniteDifferences) {
  ModelWeights weights = TinyModel();
  const Tensor ids = Ids(1, 12);
  auto loss_of = [&](const ModelWeights& w) {
    return Transformer(w).Logits(ids).log_softmax(-1).square().mean();
  };
  std::vector<Tensor> parameters = Parameters(weights);
  for (Tensor& p : parameters) p.requires_grad_(true);
  loss_of(weights).backward();
  for (const auto& [name, slot] : Slots(weights)) {
    const Tensor direction = RandomTensor(slot->sizes().vec(), 11);
    const double slope = (slot->grad() * direction).sum().item<double>();
    const at::NoGradGuard no_grad;
    constexpr double kStep = 1e-3;
    const Tensor kept = slot->clone();
    slot->copy_(kept + kStep * direction);
    const double above = loss_of(weights).item<double>();
    slot->copy_(kept - kStep * direction);
    const double below = loss_of(weights).item<double>();
    slot->copy_(kept);
    EXPECT_NEAR((above - below) / (2 * kStep), slope, 0.02 * std::abs(slope) + 0.05) << name;
  }
}

TEST(TransformerTest, GenerationStopsAtTheEndOfTheContext) {
  const Transformer model(TinyModel());
  const std::vector<int32_t> prompt(60, 5);
  EXPECT_LE(Generate(model, prompt, 100).size(), 5u);
  const std::vector<int32_t> too_long(65, 5);
  EXPECT_THROW((void)Generate(model, too_long, 1), Error);
  EXPECT_THROW((void)Generate(model, std::vector<int32_t>{}, 1), Error);
}

TEST(TransformerTest, APromptOfAnotherVocabularyIsRefused) {
  const Transformer model(TinyModel());
  for (const int32_t id : {-1, 40}) {
    const std::vector<int32_t> prompt = {5, id};
    EXPECT_THAT(ErrorOf([&] { (void)Generate(model, prompt, 1); }),
                HasSubstr("token id " + std::to_string(id) +
                          " of the prompt is outside the model's vocabulary of 40"));
  }
}

TEST(TransformerTest, SamplingIsRepeatableAndAFunctionOfTheSeed) {
  const Transformer model(TinyModel());
  const std::vector<int32_t> prompt = {5, 6};
  const Sampling sampling{.temperature = 5.0, .top_k = 0, .seed = 1};
  EXPECT_EQ(Generate(model, prompt, 30, sampling), Generate(model, prompt, 30, sampling));
  EXPECT_NE(Generate(model, prompt, 30, sampling),
            Generate(model, prompt, 30, {.temperature = 5.0, .top_k = 0, .seed = 2}));
  EXPECT_EQ(Generate(model, prompt, 30, {.temperature = 5.0, .top_k = 1, .seed = 2}),
            Generate(model, prompt, 30));
}

// Logits of the last position alone are computed while generating.
TEST(TransformerTest, GreedyTextIsTheLikeliestTokenOfTheWholeSequenceEachTime) {
  const at::NoGradGuard no_grad;
  const Transformer model(TinyModel(MixedConfig()));
  const std::vector<int32_t> prompt = {5, 9, 2, 11, 7};
  std::vector<int64_t> ids(prompt.begin(), prompt.end());
  for (const int32_t token : Generate(model, prompt, 6)) {
    const Tensor logits = model.Logits(at::tensor(at::ArrayRef<int64_t>(ids)).unsqueeze(0));
    EXPECT_EQ(token, logits[0][-1].argmax().item<int64_t>());
    ids.push_back(token);
  }
  EXPECT_GT(ids.size(), prompt.size());
}

}  // namespace
}  // namespace puzzle
