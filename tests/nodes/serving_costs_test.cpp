#include "nodes/cost/serving_costs.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "io/error.h"
#include "model/files/checkpoint_config.h"

namespace puzzle {
namespace {

using ::testing::HasSubstr;

ModelConfig Shape(int64_t layers, int64_t hidden, int64_t heads, int64_t kv_heads, int64_t head_dim,
                  int64_t ffn, int64_t vocab, bool tied) {
  ModelConfig config;
  config.vocab_size = vocab;
  config.hidden_size = hidden;
  config.n_heads = heads;
  config.head_dim = head_dim;
  config.max_positions = 131072;
  config.tied_embeddings = tied;
  config.blocks.assign(static_cast<size_t>(layers),
                       {{SubBlockForm::kFull, kv_heads}, {SubBlockForm::kFull, ffn}});
  return config;
}

ModelConfig Llama8B() {
  return ReadCheckpointConfig(std::string(PUZZLE_SOURCE_DIR) + "/tests/nodes/configs/llama-3.1-8b");
}
ModelConfig Llama3B() {
  return ReadCheckpointConfig(std::string(PUZZLE_SOURCE_DIR) + "/tests/nodes/configs/llama-3.2-3b");
}
// Plain dimensions: 36 x (4096, 32/8 heads of 128, 12288) and 40 x (5120, 32/8 heads of 128,
// 32768).
ModelConfig Qwen8B() {
  return Shape(36, 4096, 32, 8, 128, 12288, 151936, false);
}
ModelConfig Mistral24B() {
  return Shape(40, 5120, 32, 8, 128, 32768, 131072, false);
}

// bf16, batch 96, 4096 + 4096 tokens.
ServingScenario Long() {
  ServingScenario scenario;
  scenario.batch = 96;
  scenario.prefill_length = scenario.generation_length = 4096;
  return scenario;
}

ServingCosts Attentions(const ModelConfig& config, CountingRules rules = CountingRules::kExact) {
  ServingCosts costs;
  for (const BlockSpec& block : config.blocks) {
    costs += CountSubBlock(block.attention, config, Long(), rules);
  }
  return costs;
}
ServingCosts Ffns(const ModelConfig& config) {
  ServingCosts costs;
  for (const BlockSpec& block : config.blocks) costs += CountSubBlock(block.ffn, config, Long());
  return costs;
}

// The first `kept` layers keep their attention.
ModelConfig KeepingAttention(ModelConfig config, size_t kept) {
  for (size_t layer = kept; layer < config.blocks.size(); ++layer) {
    config.blocks[layer].attention = {SubBlockForm::kNone, 0};
  }
  return config;
}

TEST(ServingCostsTest, EveryGeneratedTokenReadsTheWeightsOnce) {
  const ModelConfig config = Shape(1, 64, 4, 4, 16, 96, 100, true);
  ServingScenario scenario;
  scenario.batch = 3;
  scenario.prefill_length = 7;
  scenario.generation_length = 5;
  const ServingCosts costs = CountSubBlock(config.blocks[0].ffn, config, scenario);
  // Three matrices of 64 x 96 and a norm, in bf16; a token is read and written at both ends, and so
  // are the two inner ones.
  const double weights = (3 * 64 * 96 + 64) * 2;
  const double token = (2 * 64 + 2 * 2 * 96) * 2;
  EXPECT_EQ(costs.prefill_bytes, weights + token * 3 * 7);
  EXPECT_EQ(costs.decode_bytes, weights * 5 + token * 3 * 5);
}

TEST(ServingCostsTest, Llama8BHasTheKnownSize) {
  const ServingCosts costs = CountModel(Llama8B(), Long());
  EXPECT_EQ(costs.parameters, 8'030'261'248);
  EXPECT_EQ(std::floor(costs.memory_mib()), 113'620);
}

TEST(ServingCostsTest, Llama8BWithAttentionIn26LayersHasTheKnownCosts) {
  const ModelConfig child = KeepingAttention(Llama8B(), 26);
  const ServingCosts attentions = Attentions(child);
  EXPECT_EQ(attentions.kv_mib, 79'872.0);
  EXPECT_EQ(attentions.memory_mib(), 81'952.203125);
  EXPECT_EQ(attentions.kv_heads, 208);
  EXPECT_EQ(Ffns(child).memory_mib(), 10'752.25);
  EXPECT_NEAR(CountNonBlock(child, Long()).memory_mib(), 2'004.0, 0.01);
  const ServingCosts all = CountModel(child, Long());
  EXPECT_EQ(all.memory_mib(), 94'708.4609375);
  EXPECT_EQ(all.parameters, 7'778'578'432);
}

TEST(ServingCostsTest, Llama8BWithAttentionIn20LayersHasTheKnownCosts) {
  const ModelConfig child = KeepingAttention(Llama8B(), 20);
  const ServingCosts attentions = Attentions(child);
  EXPECT_EQ(attentions.kv_mib, 61'440.0);
  EXPECT_EQ(attentions.memory_mib(), 63'040.15625);
  EXPECT_EQ(attentions.parameters, 838'942'720);
  EXPECT_EQ(Ffns(child).parameters, 5'637'275'648);
  const ServingCosts all = CountModel(child, Long());
  EXPECT_EQ(all.memory_mib(), 75'796.4140625);
  EXPECT_EQ(all.parameters, 7'526'895'616);
}

TEST(ServingCostsTest, Qwen8BHasTheKnownMemory) {
  EXPECT_NEAR(CountModel(Qwen8B(), Long()).memory_mib(), 126'215, 0.5);
}

TEST(ServingCostsTest, TiedEmbeddingsCountOnceUnlessPuzzletronCounts) {
  const ServingCosts costs = CountModel(Llama3B(), Long());
  EXPECT_EQ(costs.parameters, 3'212'749'824);  // as published
  const ServingCosts theirs = CountModel(Llama3B(), Long(), CountingRules::kPuzzletron);
  EXPECT_EQ(theirs.parameters, 3'212'749'824 + 128'256 * 3072);
  EXPECT_EQ(theirs.kv_mib, costs.kv_mib);
}

TEST(ServingCostsTest, TheKvCacheHasHeadDimUnlessPuzzletronCounts) {
  // 5120 / 32 = 160, but the heads have 128.
  const ServingCosts costs = Attentions(Mistral24B());
  EXPECT_EQ(CountModel(Mistral24B(), Long()).parameters, 23'572'403'200);  // as published
  EXPECT_EQ(costs.kv_mib, 40 * 3072.0);
  const ServingCosts theirs = Attentions(Mistral24B(), CountingRules::kPuzzletron);
  EXPECT_EQ(theirs.kv_mib, 40 * 3840.0);
  EXPECT_EQ(theirs.weight_mib, costs.weight_mib);
  EXPECT_EQ(CountModel(Llama8B(), Long(), CountingRules::kPuzzletron).memory_mib(),
            CountModel(Llama8B(), Long()).memory_mib());
}

TEST(ServingCostsTest, TypesDecideTheBytes) {
  ServingScenario scenario = Long();
  scenario.kv = "fp8";
  const ServingCosts costs = CountModel(Llama8B(), scenario);
  EXPECT_EQ(costs.kv_mib, 32 * 3072.0 / 2);
  scenario.weights = "fp32";
  EXPECT_EQ(CountModel(Llama8B(), scenario).weight_mib, 2 * costs.weight_mib);
  scenario.kv = "int4";
  EXPECT_THROW((void)CountModel(Llama8B(), scenario), Error);
}

// The definition: a product of a query with each key it sees, and of the weights with the values.
TEST(ServingCostsTest, ArithmeticIsTwicePerParameterAndFourTimesPerPair) {
  const ModelConfig config = Shape(1, 64, 4, 2, 16, 128, 100, true);
  ServingScenario scenario;
  scenario.batch = 3;
  scenario.prefill_length = 5;
  scenario.generation_length = 7;
  for (const int64_t window : {0, 3, 9, 100}) {
    SCOPED_TRACE(window);
    AttentionSpec spec = config.blocks[0].attention;
    spec.window = window;
    double prefill_pairs = 0, decode_pairs = 0;
    for (int64_t position = 0; position < 12; ++position) {
      const int64_t seen = window == 0 ? position + 1 : std::min(position + 1, window);
      (position < 5 ? prefill_pairs : decode_pairs) += static_cast<double>(seen);
    }
    const ServingCosts costs = CountSubBlock(spec, config, scenario);
    EXPECT_DOUBLE_EQ(costs.prefill_flops, 3 * (2 * costs.parameters * 5 + 4 * 64 * prefill_pairs));
    EXPECT_DOUBLE_EQ(costs.decode_flops, 3 * (2 * costs.parameters * 7 + 4 * 64 * decode_pairs));
    const double cached = window == 0 ? 12 : static_cast<double>(std::min<int64_t>(window, 12));
    EXPECT_DOUBLE_EQ(costs.kv_mib, 2 * 2 * 16 * cached * 3 * 2 / 1048576.0);
  }
}

TEST(ServingCostsTest, QueryHeadsThatAreGoneComputeNothing) {
  const ModelConfig config = Shape(1, 64, 4, 2, 16, 128, 100, true);
  const ServingScenario scenario;
  AttentionSpec spec = config.blocks[0].attention;
  spec.n_kv_heads = 1;
  const auto matrices = [&](const ServingCosts& costs) {
    return 2 * costs.parameters * static_cast<double>(scenario.batch * scenario.prefill_length);
  };
  const ServingCosts all = CountSubBlock(spec, config, scenario);
  spec.n_query_heads = 2;
  const ServingCosts half = CountSubBlock(spec, config, scenario);
  EXPECT_DOUBLE_EQ(all.prefill_flops - matrices(all), 2 * (half.prefill_flops - matrices(half)));
  // The weights apart, a token moves q and kv in and out: 2 (4 + 1) heads, 2 (2 + 1) without two.
  EXPECT_LT(half.prefill_bytes, all.prefill_bytes);
  EXPECT_EQ(half.kv_mib, all.kv_mib);
}

TEST(ServingCostsTest, NothingCostsNothing) {
  const VariantSpec none = FfnSpec{SubBlockForm::kNone, 0};
  const ServingCosts costs = CountSubBlock(none, Llama8B(), Long());
  EXPECT_EQ(costs.memory_mib(), 0);
  EXPECT_EQ(costs.prefill_flops, 0);
  EXPECT_EQ(costs.kernels, 0);
}

DeviceModel Device(const std::string& name) {
  return ReadDeviceModel(std::string(PUZZLE_SOURCE_DIR) + "/configs/devices/" + name);
}

TEST(RooflineTest, TheSlowerOfArithmeticAndTrafficDecides) {
  const DeviceModel device{"toy", {{"bf16", 2}}, 500, 4};
  ServingScenario scenario;
  scenario.generation_length = 10;
  ServingCosts costs;
  costs.prefill_flops = 8e12;  // 4 s
  costs.prefill_bytes = 1e9;   // 2 ms
  costs.decode_flops = 2e9;    // 1 ms
  costs.decode_bytes = 5e9;    // 10 ms
  costs.kernels = 25;          // 0.1 ms a pass
  const PassTimes time = EstimateTime(costs, scenario, device);
  EXPECT_DOUBLE_EQ(time.prefill_ms, 4000.1);
  EXPECT_DOUBLE_EQ(time.decode_ms, 10 + 10 * 0.1);
}

TEST(RooflineTest, OneTokenOfLlama8BTakesTheTimeToReadItsWeights) {
  ServingScenario scenario;
  scenario.batch = 1;
  scenario.prefill_length = 128;
  scenario.generation_length = 1;
  const DeviceModel h100 = Device("h100.json"), rtx = Device("rtx4090.json");
  const ServingCosts costs = CountModel(Llama8B(), scenario);
  // 15.0 GB (no embedding table) at 3352 GB/s, and launches below 2 ms.
  EXPECT_NEAR(EstimateTime(costs, scenario, h100).decode_ms, 15.0 / 3.352, 2);
  EXPECT_GT(EstimateTime(costs, scenario, rtx).decode_ms, 14);
}

TEST(RooflineTest, BadDeviceFilesAreRefusedByField) {
  const std::string path =
      (std::filesystem::temp_directory_path() / "puzzle_device_test.json").string();
  const auto failure = [&](const std::string& text) -> std::string {
    std::ofstream(path) << text;
    try {
      (void)ReadDeviceModel(path);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  const std::string rates = R"("name": "x", "peak_tflops": {"bf16": 1})";
  EXPECT_EQ(failure("{" + rates + R"(, "bandwidth_gb_per_s": 1, "launch_us": 1})"), "no error");
  EXPECT_THAT(failure("{" + rates + "}"), HasSubstr("bandwidth_gb_per_s: missing"));
  EXPECT_THAT(failure("{" + rates + R"(, "bandwidth_gb_per_s": -1})"),
              HasSubstr("bandwidth_gb_per_s: expected a positive number"));
  EXPECT_THAT(failure(R"({"name": "x"})"), HasSubstr("peak_tflops: expected {dtype: rate}"));
  EXPECT_THAT(failure(R"({"name": "x", "peak_tflops": {"int3": 1}})"),
              HasSubstr("unknown dtype \"int3\""));
  EXPECT_THAT(failure("[]"), HasSubstr("device: expected an object"));
  std::filesystem::remove(path);
  ServingScenario scenario;
  scenario.weights = "fp8";
  EXPECT_THROW((void)EstimateTime({}, scenario, {"x", {{"bf16", 1}}, 1, 1}), Error);
}

}  // namespace
}  // namespace puzzle
