#include "model/shape/variant.h"

#include <gtest/gtest.h>

#include "io/error.h"

namespace puzzle {
namespace {

ModelConfig Uniform(int64_t vocab, int64_t hidden, int64_t heads, int64_t head_dim, int64_t kv,
                    int64_t ffn, int64_t layers, bool tied) {
  ModelConfig config;
  config.vocab_size = vocab;
  config.hidden_size = hidden;
  config.n_heads = heads;
  config.head_dim = head_dim;
  config.max_positions = 8192;
  config.tied_embeddings = tied;
  config.blocks.assign(static_cast<size_t>(layers),
                       {{SubBlockForm::kFull, kv}, {SubBlockForm::kFull, ffn}});
  return config;
}

ModelConfig Llama8B() {
  return Uniform(128256, 4096, 32, 128, 8, 14336, 32, false);
}

TEST(VariantTest, NamesResolveToShapesOfTheParentsLayer) {
  const ModelConfig parent = Uniform(100, 192, 6, 32, 2, 512, 6, true);
  EXPECT_EQ(ResolveVariant("attn:kv1", parent, 0),
            VariantSpec(AttentionSpec{SubBlockForm::kFull, 1}));
  EXPECT_EQ(ResolveVariant("attn:kv50%", parent, 0), ResolveVariant("attn:kv1", parent, 0));
  const VariantSpec pruned = ResolveVariant("attn:kv1q3", parent, 0);
  EXPECT_EQ(QueryHeads(std::get<AttentionSpec>(pruned), parent), 3);
  EXPECT_EQ(VariantName(pruned), "attn:kv1q3");
  EXPECT_EQ(ResolveVariant("attn:kv2q6", parent, 0),
            ParentVariant(parent, 0, SubBlock::kAttention));
  EXPECT_EQ(ResolveVariant("ffn:50%", parent, 5), VariantSpec(FfnSpec{SubBlockForm::kFull, 256}));
  EXPECT_EQ(ResolveVariant("ffn:33%", parent, 5), VariantSpec(FfnSpec{SubBlockForm::kFull, 168}));
  EXPECT_EQ(ResolveVariant("ffn:33%", parent, 5, 256),
            VariantSpec(FfnSpec{SubBlockForm::kFull, 256}));
  EXPECT_EQ(ResolveVariant("ffn:none", parent, 1), VariantSpec(FfnSpec{SubBlockForm::kNone, 0}));
  EXPECT_EQ(VariantName(ResolveVariant("ffn:25%", parent, 0)), "ffn:128");
  EXPECT_EQ(VariantName(ResolveVariant("attn:linear", parent, 0)), "attn:linear");
}

TEST(VariantTest, EveryPartOfABlockHasAName) {
  const ModelConfig parent = Uniform(100, 192, 6, 32, 2, 512, 6, true);
  EXPECT_EQ(SubBlockName(WhichSubBlock(ResolveVariant("attn:kv1", parent, 0))), "attn");
  EXPECT_EQ(SubBlockName(WhichSubBlock(ResolveVariant("ffn:50%", parent, 0))), "ffn");
  EXPECT_EQ(SubBlockName(WhichSubBlock(ResolveVariant("none", parent, 0))), "block");
}

TEST(VariantTest, WindowsArePartOfTheName) {
  ModelConfig parent = Uniform(100, 192, 6, 32, 2, 512, 6, true);
  parent.blocks[1].attention.window = 64;
  const VariantSpec windowed = ResolveVariant("attn:kv1", parent, 1);
  EXPECT_EQ(VariantName(windowed), "attn:kv1w64");
  EXPECT_NE(VariantName(windowed), VariantName(ResolveVariant("attn:kv1", parent, 0)));
  EXPECT_EQ(ResolveVariant("attn:kv1w64", parent, 1), windowed) << "names can be read back";
  const VariantSpec pruned = ResolveVariant("attn:kv1q3", parent, 1);
  EXPECT_EQ(VariantName(pruned), "attn:kv1q3w64");
  EXPECT_EQ(ResolveVariant("attn:kv1q3w64", parent, 1), pruned);
  for (const char* name : {"attn:kv1w32", "attn:kv1w", "attn:kv1w64q3", "attn:kv1w0"})
    EXPECT_THROW((void)ResolveVariant(name, parent, 1), Error) << name;
  try {
    (void)ResolveVariant("attn:kv1w64", parent, 0);
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(),
                 "layer 0: variant attn:kv1w64: the parent's attention has no window here");
  }
}

TEST(VariantTest, WholeBlocksArePairsOrNothing) {
  const ModelConfig parent = Uniform(100, 192, 6, 32, 2, 512, 6, true);
  const VariantSpec pair = ResolveVariant("attn:kv1+ffn:50%", parent, 2);
  EXPECT_EQ(pair, VariantSpec(BlockSpec{{SubBlockForm::kFull, 1}, {SubBlockForm::kFull, 256}}));
  EXPECT_EQ(VariantName(pair), "attn:kv1+ffn:256");
  EXPECT_EQ(WhichSubBlock(pair), SubBlock::kBoth);
  EXPECT_EQ(PartsOf(pair), (std::vector<VariantSpec>{ResolveVariant("attn:kv1", parent, 2),
                                                     ResolveVariant("ffn:256", parent, 2)}));
  EXPECT_EQ(CountParameters(pair, parent), 86'208 + 147'648);
  EXPECT_EQ(ResolveVariant("attn:kv2+ffn:100%", parent, 0),
            ParentVariant(parent, 0, SubBlock::kBoth));
  const VariantSpec none = ResolveVariant("none", parent, 0);
  EXPECT_EQ(none, ResolveVariant("attn:none+ffn:none", parent, 0));
  EXPECT_EQ(VariantName(none), "none");
  EXPECT_TRUE(IsNone(none));
  EXPECT_FALSE(IsNone(ResolveVariant("attn:none+ffn:linear", parent, 0)));
  EXPECT_EQ(CountParameters(none, parent), 0);
  BlockSpec block = parent.blocks[0];
  Place(pair, block);
  EXPECT_EQ(VariantSpec(block), pair);
}

TEST(VariantTest, WhatTheParentCannotHaveIsRefusedByName) {
  const ModelConfig parent = Uniform(100, 192, 6, 32, 2, 512, 6, true);
  for (const char* name :
       {"attn:kv3",          "attn:kv4",      "attn:kv1q2",  "attn:kv1q6",
        "attn:kv3q9",        "attn:kv1q",     "attn:kv101%", "ffn:513",
        "ffn:101%",          "ffn:0",         "attn:kv0",    "ffn:50%+attn:kv1",
        "attn:kv1+attn:kv1", "attn:kv1+",     "+ffn:50%",    "attn:kv1+ffn:50%+ffn:50%",
        "attn:kv1+ffn:513",  "attn:kv1+none", "None",        "attn:2",
        "mlp:50%",           "ffn:",          "ffn:-5",      "attn:kv1.5",
        "ffn:1e99"})
    EXPECT_THROW((void)ResolveVariant(name, parent, 0), Error) << name;
  EXPECT_THROW((void)ResolveVariant("attn:kv1", parent, 6), Error);
  EXPECT_THROW((void)ResolveVariant("attn:kv1", parent, -1), Error);
  try {
    (void)ResolveVariant("attn:kv4", parent, 3);
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "layer 3: variant attn:kv4: 4 kv heads do not divide the parent's 2");
  }
  try {
    (void)ResolveVariant("attn:kv1+ffn:600", parent, 3);
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(),
                 "layer 3: variant attn:kv1+ffn:600: larger than the parent's FFN of 512");
  }
}

TEST(VariantTest, ParametersOfLlama8BMatchPublishedFigures) {
  ModelConfig config = Llama8B();
  EXPECT_EQ(CountBlockParameters(config) + CountNonBlockParameters(config), 8'030'261'248);
  for (size_t layer = 26; layer < 32; ++layer)
    config.blocks[layer].attention = {SubBlockForm::kNone, 0};
  EXPECT_EQ(CountBlockParameters(config) + CountNonBlockParameters(config), 7'778'578'432);
  for (size_t layer = 20; layer < 26; ++layer)
    config.blocks[layer].attention = {SubBlockForm::kNone, 0};
  EXPECT_EQ(CountBlockParameters(config) + CountNonBlockParameters(config), 7'526'895'616);
}

TEST(VariantTest, ParametersOfSmallVariantsMatchTheReferenceTable) {
  const ModelConfig parent = Uniform(4096, 192, 6, 32, 2, 512, 6, true);
  const std::pair<const char*, int64_t> table[] = {
      {"attn:kv2", 98'496},   {"attn:kv1", 86'208}, {"attn:linear", 37'056}, {"attn:none", 0},
      {"ffn:100%", 295'104},  {"ffn:75%", 221'376}, {"ffn:50%", 147'648},    {"ffn:25%", 73'920},
      {"ffn:linear", 37'056}, {"ffn:none", 0}};
  for (const auto& [name, parameters] : table)
    EXPECT_EQ(CountParameters(ResolveVariant(name, parent, 0), parent), parameters) << name;
  EXPECT_EQ(CountBlockParameters(parent), 2'361'600);
  EXPECT_EQ(CountBlockParameters(parent) + CountNonBlockParameters(parent), 3'148'224);
}

}  // namespace
}  // namespace puzzle
