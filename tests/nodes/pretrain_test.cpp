// Models trained from scratch in another's shape (what stops and resumes is tested in
// distill_test.cpp).
#include "nodes/train/pretrain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "io/error.h"
#include "io/tokenizer.h"
#include "model/surgery.h"
#include "nodes/measure/text_quality.h"
#include "tests/model/same_bits.h"
#include "tests/model/tiny_model.h"
#include "tests/nodes/fake_inputs.h"

namespace puzzle {
namespace {

TokenSet Repetitive() {
  TokenSet tokens;
  tokens.length = 16;
  tokens.vocab_size = 40;
  for (int i = 0; i < 16 * 40; ++i) tokens.ids.push_back(i * 7 % 20);
  return tokens;
}

Checkpoint UnevenChild() {
  const ModelWeights parent = TinyModel();
  Checkpoint child;
  child.model = Clone(parent);
  for (const char* variant : {"attn:none", "ffn:24"}) {
    const VariantSpec spec = ResolveVariant(variant, parent.config, 1);
    Replace(child.model, 1, spec, InitVariant(parent, 1, spec));
  }
  return child;
}

Checkpoint TrainLike(const Checkpoint& like, const TokenSet& tokens) {
  PretrainParams params;
  params.steps = 30;
  params.layers = 7;  // says nothing
  FakeContext context;
  return RunPretrain(params, FakeInputs().Add("tokens", "t", tokens).Add("like", "c", like),
                     context);
}

TEST(PretrainLikeTest, TheShapeIsTheOthersAndNoneOfTheWeights) {
  Checkpoint child = UnevenChild();
  const TokenSet tokens = Repetitive();
  const Checkpoint scratch = TrainLike(child, tokens);
  EXPECT_EQ(scratch.model.config, child.model.config);
  const TokenMetrics metrics =
      EvaluateModel(Transformer(scratch.model), nullptr, tokens, 0, 8, [](double) {});
  EXPECT_LT(metrics.Mean(Metric::kNll), std::log(20.0)) << "it learned nothing";
  for (const auto& [name, slot] : Slots(child.model)) slot->zero_();
  Checkpoint again = TrainLike(child, tokens);
  ModelWeights wanted = scratch.model;
  ExpectSameBits(Slots(again.model), Slots(wanted));
}

TEST(PretrainTest, TheShapeIsThatOfTheParametersAndTheContextThatOfTheText) {
  PretrainParams params;
  params.layers = 3;
  params.hidden = 24;
  params.heads = 6;
  params.kv_heads = 3;
  params.ffn = 40;
  params.steps = 1;
  TokenSet tokens = Repetitive();
  FakeContext context;
  const auto config_of = [&] {
    return RunPretrain(params, FakeInputs().Add("tokens", "t", tokens), context).model.config;
  };
  const ModelConfig config = config_of();
  EXPECT_EQ(config.vocab_size, 40);
  EXPECT_EQ(config.hidden_size, 24);
  EXPECT_EQ(config.n_heads, 6);
  EXPECT_EQ(config.head_dim, 4);
  EXPECT_EQ(config.max_positions, 16);
  EXPECT_TRUE(config.tied_embeddings);
  ASSERT_EQ(config.blocks.size(), 3u);
  for (const BlockSpec& block : config.blocks)
    EXPECT_EQ(block, (BlockSpec{{SubBlockForm::kFull, 3}, {SubBlockForm::kFull, 40}}));
  EXPECT_EQ(config.eos_ids, ModelConfig().eos_ids) << "nobody said where a text ends";
  const auto tokenizer = MakeByteTokenizer();
  tokens.tokenizer_files = tokenizer->files();
  tokens.vocab_size = tokenizer->vocab_size();
  const ModelConfig with_tokenizer = config_of();
  EXPECT_EQ(with_tokenizer.bos_id, tokenizer->bos_id());
  EXPECT_EQ(with_tokenizer.eos_ids, std::vector<int32_t>{tokenizer->eos_id()});
}

TEST(PretrainLikeTest, TokensThatDoNotFitAreRefused) {
  TokenSet tokens = Repetitive();
  tokens.ids[5] = 40;  // no word of it
  EXPECT_THROW((void)TrainLike(UnevenChild(), tokens), Error);
}

}  // namespace
}  // namespace puzzle
