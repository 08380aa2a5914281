// Counts of published models, worked out by hand from their configs.
#include "nodes/cost/anatomy.h"

#include <gmock/gmock.h>

#include "model/files/checkpoint_config.h"

namespace puzzle {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Not;

// 32 x (4096, 32/8 heads of 128, 14336), 128256 tokens, head of its own.
ModelConfig Llama31() {
  return ReadCheckpointConfig(std::string(PUZZLE_SOURCE_DIR) + "/tests/nodes/configs/llama-3.1-8b");
}

ServingScenario EightOf2048() {
  ServingScenario scenario;
  scenario.batch = 8;
  scenario.prefill_length = scenario.generation_length = 1024;
  return scenario;
}

TEST(AnatomyTest, PartsAreThoseOfThePublishedModel) {
  const ParameterParts parts = CountParts(Llama31());
  EXPECT_EQ(parts.embedding, 128256 * 4096);
  EXPECT_EQ(parts.head, 128256 * 4096);
  EXPECT_EQ(parts.positions, 0);
  EXPECT_EQ(parts.attention, 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 4096));
  EXPECT_EQ(parts.ffn, int64_t{32} * (3 * 4096 * 14336 + 4096));
  EXPECT_EQ(parts.final_norm, 4096);
  EXPECT_EQ(parts.total(), 8030261248);  // what its card says
}

TEST(AnatomyTest, ATiedHeadCountsOnceAndLearnedPositionsCount) {
  ModelConfig config = Llama31();
  config.tied_embeddings = true;
  config.arch.positions = Architecture::Positions::kLearned;
  config.max_positions = 1024;
  const ParameterParts parts = CountParts(config);
  EXPECT_EQ(parts.head, 0);
  EXPECT_EQ(parts.positions, 1024 * 4096);
  EXPECT_EQ(parts.total(), CountBlockParameters(config) + CountNonBlockParameters(config));
}

TEST(AnatomyTest, ATokenOfLlama31Takes128KiBOfCache) {
  EXPECT_EQ(KvBytesPerToken(Llama31(), "bf16"), 128 * 1024);
  EXPECT_EQ(KvBytesPerToken(Llama31(), "fp8"), 64 * 1024);
}

TEST(AnatomyTest, TheMenuHoldsWhatEveryLayerCanHaveAndNothingThatIsThere) {
  ModelConfig config = Llama31();
  EXPECT_THAT(VariantMenu(config, Menu::kSmall),
              ElementsAre("attn:kv1", "attn:none", "ffn:75%", "ffn:50%", "ffn:none"));
  EXPECT_THAT(VariantMenu(config, Menu::kUsual),
              ElementsAre("attn:kv4", "attn:kv2", "attn:kv1", "attn:linear", "attn:none", "ffn:87%",
                          "ffn:75%", "ffn:62%", "ffn:50%", "ffn:37%", "ffn:25%", "ffn:none"));
  EXPECT_THAT(VariantMenu(config, Menu::kAll), Contains("attn:kv2q8"));
  // A child: one layer has two kv heads, another no FFN.
  config.blocks[3].attention.n_kv_heads = 2;
  config.blocks[4].ffn = {SubBlockForm::kNone, 0};
  EXPECT_THAT(VariantMenu(config, Menu::kUsual),
              ElementsAre("attn:kv2", "attn:kv1", "attn:linear", "attn:none", "ffn:none"));
  // Nothing is left to take away from attention that is not there.
  for (BlockSpec& block : config.blocks) block.attention = {SubBlockForm::kNone, 0};
  EXPECT_THAT(VariantMenu(config, Menu::kAll), ElementsAre("ffn:none"));
}

TEST(AnatomyTest, AShapeThatIsThereAlreadyIsARepetition) {
  ModelConfig config = Llama31();
  config.blocks.resize(2);
  config.blocks[1].attention.n_kv_heads = 2;
  EXPECT_THAT(
      RepeatedVariants(config, {"attn:kv2", "attn:kv1", "ffn:50%", "ffn:7168"}),
      ElementsAre(Repetition{0, "ffn:7168"}, Repetition{1, "attn:kv2"}, Repetition{1, "ffn:7168"}));
  // Sixteen channels in steps of eight are two sizes.
  for (BlockSpec& block : config.blocks) block.ffn.size = 16;
  EXPECT_THAT(VariantMenu(config, Menu::kUsual), Not(Contains("ffn:87%")));
  EXPECT_THAT(VariantMenu(config, Menu::kUsual), Contains("ffn:62%"));
  EXPECT_THAT(VariantMenu(config, Menu::kUsual), Not(Contains("ffn:50%")));
}

TEST(AnatomyTest, EqualLayersAreOneGroupWithSharesOfTheirOwn) {
  ModelConfig config = Llama31();
  config.blocks[0].ffn.size = 7168;
  const auto groups = GroupLayers(config, {"attn:kv2", "ffn:50%", "ffn:none"}, "bf16");
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups[0].last, 0);
  EXPECT_EQ(groups[1].first, 1);
  EXPECT_EQ(groups[1].last, 31);
  EXPECT_EQ(groups[0].variants[1].shape, "3584");
  const std::vector<VariantShare>& variants = groups[1].variants;
  EXPECT_EQ(variants[0].parameters, 2 * 4096 * 4096 + 2 * 4096 * 256 + 4096);
  EXPECT_EQ(variants[0].kv_bytes_per_token, 2 * 2 * 128 * 2);
  EXPECT_EQ(variants[1].shape, "7168");
  EXPECT_NEAR(variants[1].of_parent, 0.5, 1e-4);
  EXPECT_EQ(variants[2].parameters, 0);
  const auto total = static_cast<double>(CountParts(config).total());
  EXPECT_DOUBLE_EQ(variants[2].of_model, (total - (3 * 4096 * 14336 + 4096)) / total);
}

// Weights 15316.51 MiB and 2048 MiB of cache. The matrices of all FFNs are 10752 MiB, a block with
// its cache is 480.02 MiB; one kv head a layer saves 1792 MiB of cache and 448 MiB of weights.
TEST(AnatomyTest, ABudgetTakesWhatTheArithmeticSays) {
  const ModelConfig config = Llama31();
  const BudgetAnswer all = AskBudget(config, EightOf2048(), 1);
  EXPECT_NEAR(all.memory_mib, 17364.51, 0.01);
  EXPECT_EQ(all.ffn_percent, 100);
  EXPECT_EQ(all.kv_heads, 8);
  EXPECT_EQ(all.blocks, 32);
  const BudgetAnswer three_quarters = AskBudget(config, EightOf2048(), 0.75);  // 4341.13 MiB less
  EXPECT_EQ(three_quarters.ffn_percent, 59);
  EXPECT_EQ(three_quarters.kv_heads, 0);
  EXPECT_EQ(three_quarters.blocks, 22);
  const BudgetAnswer nine_tenths = AskBudget(config, EightOf2048(), 0.9);  // 1736.45 MiB less
  EXPECT_EQ(nine_tenths.kv_heads, 2);  // saves 6/8 of 2560 = 1920; four would save 1280
  const BudgetAnswer tenth = AskBudget(config, EightOf2048(), 0.1);
  EXPECT_EQ(tenth.ffn_percent, std::nullopt);
  EXPECT_EQ(tenth.kv_heads, std::nullopt);
  EXPECT_EQ(tenth.blocks, std::nullopt);  // embedding and head alone are 2004 MiB
  EXPECT_NEAR(FloorMib(config, EightOf2048()), 2004.01, 0.01);
}

TEST(AnatomyTest, ATypeIsServedAsItIsStored) {
  ModelConfig config = Llama31();
  EXPECT_EQ(ServedType(config), "bf16");
  config.stored_dtype = DType::kF32;
  EXPECT_EQ(ServedType(config), "fp32");
}

}  // namespace
}  // namespace puzzle
