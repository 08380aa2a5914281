// Children with all blocks alike: the same logits, in folders that any reader of the family takes.
#include "model/files/dense.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "model/families/family.h"
#include "model/files/hf_config.h"
#include "model/transformer.h"
#include "model/unread.h"
#include "tests/io/test_files.h"
#include "tests/model/tiny_model.h"

namespace puzzle {
namespace {

using testing::HasSubstr;

ModelConfig DenseParent(const std::string& family) {
  ModelConfig config = TinyConfig();
  config.family = family;
  config.arch = FamilyOf(config).arch;
  if (family == "gemma2") {
    config.arch.query_scalar = 16;
    config.arch.attention_cap = 5;
  }
  return config;
}

class DenseTest : public testing::TestWithParam<const char*> {};

TEST_P(DenseTest, EveryBlockIsAlikeAndTheLogitsAreTheSame) {
  const at::NoGradGuard no_grad;
  ModelConfig config = DenseParent(GetParam());
  const bool has_groups = FamilyOf(config).fields.kv_heads != nullptr;
  const auto kv = [&](int64_t heads, int64_t queries = 0) {
    return AttentionSpec{SubBlockForm::kFull, has_groups ? heads : 4, 0, has_groups ? queries : 0};
  };
  config.blocks = {{{SubBlockForm::kNone, 0}, {SubBlockForm::kFull, 48}},
                   {kv(2), {SubBlockForm::kNone, 0}},
                   {kv(1), {SubBlockForm::kFull, 7}},
                   {kv(1, 2), {SubBlockForm::kFull, 33}},
                   {{SubBlockForm::kNone, 0}, {SubBlockForm::kNone, 0}}};
  ModelWeights child = TinyModel(config);
  uint64_t seed = 3;
  for (const auto& [name, slot] : Slots(child))
    if (slot->dim() == 1) slot->add_(RandomTensor(slot->sizes().vec(), ++seed), 0.3);
  const ModelWeights dense = MakeDense(child);
  EXPECT_EQ(dense.config.n_layers(), 5);
  for (const BlockSpec& block : dense.config.blocks) {
    EXPECT_EQ(block.attention, dense.config.blocks[0].attention);
    EXPECT_EQ(block.ffn.size, 48);
  }
  // What is written is as large as the config says.
  ModelWeights made = dense, outline = RandomModel(dense.config, 1);
  const auto found = Slots(made), wanted_slots = Slots(outline);
  ASSERT_EQ(found.size(), wanted_slots.size());
  for (size_t i = 0; i < found.size(); ++i)
    EXPECT_EQ(InMemory(*found[i].second).sizes(), wanted_slots[i].second->sizes())
        << found[i].first;
  const auto json = ToHfJson(dense.config);
  EXPECT_EQ(json["model_type"], GetParam());
  EXPECT_FALSE(json.contains("block_configs"));
  const at::Tensor ids = at::tensor({1, 5, 9, 33, 2, 17, 0, 39}, at::kLong).unsqueeze(0);
  const at::Tensor wanted = Transformer(child).Logits(ids);
  EXPECT_TENSORS_NEAR(Transformer(dense).Logits(ids), wanted,
                      1e-5 * wanted.abs().max().item<double>());
}

INSTANTIATE_TEST_SUITE_P(Families, DenseTest,
                         testing::Values("llama", "mistral", "qwen2", "qwen3", "gemma2", "phi3",
                                         "gpt2", "gpt_neo", "opt"),
                         [](const auto& info) { return std::string(info.param); });

TEST(DenseRefusalTest, WhatFullSubBlocksCannotSayIsRefused) {
  ModelConfig config = TinyConfig();
  config.blocks[1].ffn = {SubBlockForm::kLinear, 0};
  EXPECT_THAT(ErrorOf([&] { (void)MakeDense(TinyModel(config)); }),
              HasSubstr("layer 1 has a linear sub-block"));
  config = DenseParent("mistral");
  config.blocks[0].attention.window = 4;
  config.blocks[1].attention.window = 8;
  EXPECT_THAT(ErrorOf([&] { (void)MakeDense(TinyModel(config)); }), HasSubstr("the windows"));
}

}  // namespace
}  // namespace puzzle
