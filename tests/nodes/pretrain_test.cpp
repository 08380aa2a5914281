// Models trained from scratch in another's shape (what stops and resumes is tested in
// distill_test.cpp).
#include "nodes/train/pretrain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "io/error.h"
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

TEST(PretrainLikeTest, TokensThatDoNotFitAreRefused) {
  TokenSet tokens = Repetitive();
  tokens.ids[5] = 40;  // no word of it
  EXPECT_THROW((void)TrainLike(UnevenChild(), tokens), Error);
}

}  // namespace
}  // namespace puzzle
