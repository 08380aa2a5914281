#include "model/files/hf_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/file.h"
#include "model/files/checkpoint_config.h"
#include "model/files/stored_heads.h"
#include "tests/io/temp_folder.h"

namespace puzzle {
namespace {

using Json = nlohmann::ordered_json;
using testing::HasSubstr;

Json Llama() {
  return Json::parse(R"({"model_type": "llama", "hidden_size": 64, "intermediate_size": 172,
    "num_hidden_layers": 3, "num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": 512,
    "max_position_embeddings": 256, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
    "hidden_act": "silu", "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": [2, 3]})");
}

TEST(HfConfigTest, PlainLlamaIsReadWithItsQuirks) {
  Json json = Llama();
  ModelConfig config = ModelConfigFromJson(json, "c");
  EXPECT_EQ(config.head_dim, 8);
  EXPECT_EQ(config.blocks.size(), 3u);
  EXPECT_EQ(config.blocks[2].attention.n_kv_heads, 4);
  EXPECT_EQ(config.eos_ids, (std::vector<int32_t>{2, 3}));
  json.erase("num_key_value_heads");
  json["head_dim"] = 32;
  json["rope_parameters"] = {{"rope_theta", 5e5}, {"rope_type", "linear"}, {"factor", 4.0}};
  config = ModelConfigFromJson(json, "c");
  EXPECT_EQ(config.blocks[0].attention.n_kv_heads, 8);
  EXPECT_EQ(config.head_dim, 32);
  EXPECT_EQ(config.rope.theta, 5e5);
  EXPECT_EQ(config.rope.type, RopeConfig::Type::kLinear);
}

TEST(HfConfigTest, WhatIsWrittenIsReadBack) {
  ModelConfig config = ModelConfigFromJson(Llama(), "c");
  EXPECT_EQ(ModelConfigFromJson(ToHfJson(config), "c"), config);
  EXPECT_EQ(ToHfJson(config)["model_type"], "llama");

  config.blocks[0].attention = {SubBlockForm::kLinear, 0};
  config.blocks[1] = {{SubBlockForm::kNone, 0}, {SubBlockForm::kNone, 0}};
  config.blocks[2] = {{SubBlockForm::kFull, 1}, {SubBlockForm::kFull, 100}};
  config.rope = {RopeConfig::Type::kLlama3, 5e5, 8, 1, 4, 8192};
  const Json written = ToHfJson(config);
  EXPECT_EQ(written["model_type"], "nemotron-nas");
  EXPECT_EQ(written["block_configs"][2]["attention"]["n_heads_in_group"], 8);
  EXPECT_EQ(written["block_configs"][2]["ffn"]["intermediate_size"], 100);
  EXPECT_EQ(ModelConfigFromJson(Json::parse(written.dump()), "c"), config);

  for (BlockSpec& block : config.blocks) block = {{SubBlockForm::kFull, 1, 0, 4}, block.ffn};
  EXPECT_EQ(ModelConfigFromJson(ToHfJson(config), "c"), config) << "pruned query heads";
}

TEST(HfConfigTest, BlocksWithFewerQueryHeadsAreStoredWithAll) {
  ModelConfig config = ModelConfigFromJson(Llama(), "c");  // 8 query heads, 4 kv heads
  const auto stored_kv = [&](int64_t kv, int64_t queries) {
    config.blocks[1].attention = {SubBlockForm::kFull, kv, 0, queries};
    const AttentionSpec stored = StoredShape(config).blocks[1].attention;
    EXPECT_EQ(stored.n_query_heads, 0);
    return stored.n_kv_heads;
  };
  EXPECT_EQ(stored_kv(1, 2), 1);
  EXPECT_EQ(stored_kv(2, 4), 2);
  EXPECT_EQ(stored_kv(3, 6), 4) << "3 kv heads do not divide 8 query heads";
  EXPECT_THROW((void)stored_kv(2, 10), Error);

  config.blocks[1].attention = {SubBlockForm::kFull, 3, 0, 6};
  Json json = ToHfJson(config);
  EXPECT_EQ(json["unpadded_heads"], Json::parse(R"([null, {"num_attention_heads": 6,
                                                  "num_key_value_heads": 3}, null])"));
  EXPECT_FALSE(json.contains("block_configs")) << "stored as the parent";
  EXPECT_EQ(ModelConfigFromJson(json, "c"), config);
  const std::pair<const char*, const char*> wrong[] = {
      {"[null]", "c: unpadded_heads: expected a list with an entry per layer"},
      {R"([null, {"num_attention_heads": 4}, null])", "unpadded_heads[1]: num_key_value_heads"},
      {R"([null, {"num_attention_heads": 6, "num_key_value_heads": 4}, null])", "4 kv heads for 6"},
      {R"([null, {"num_attention_heads": 2, "num_key_value_heads": 1}, null])",
       "c: unpadded_heads does not fit the blocks"}};
  for (const auto& [heads, message] : wrong) {
    json["unpadded_heads"] = Json::parse(heads);
    try {
      (void)ModelConfigFromJson(json, "c");
      ADD_FAILURE() << heads << " was accepted";
    } catch (const Error& e) {
      EXPECT_THAT(e.what(), HasSubstr(message));
    }
  }
}

TEST(HfConfigTest, FfnMultReturnsTheExactSizeForEveryMultipleOf256) {
  ModelConfig config = ModelConfigFromJson(Llama(), "c");
  for (int64_t hidden : {64, 576, 2048, 3072, 4096, 8192}) {
    for (int64_t size = 256; size <= 4 * hidden + 256; size += 256) {
      config.hidden_size = hidden;
      config.blocks[0].ffn.size = size;
      config.blocks[1].ffn.size = 256;
      config.blocks[2] = {{SubBlockForm::kNone, 0}, {SubBlockForm::kNone, 0}};
      const Json json = ToHfJson(config);
      ASSERT_TRUE(json["block_configs"][0]["ffn"].contains("ffn_mult"));
      ASSERT_EQ(ModelConfigFromJson(json, "c").blocks[0].ffn.size, size) << hidden;
    }
  }
}

TEST(HfConfigTest, BlocksOfOtherFamiliesThanLlamaAreWrittenAndRead) {
  Json json = Llama();
  json["model_type"] = "mistral";
  json["architectures"] = {"MistralForCausalLM"};
  ModelConfig config = ModelConfigFromJson(json, "c");
  config.blocks[1] = {{SubBlockForm::kFull, 2}, {SubBlockForm::kNone, 0}};
  config.blocks[2].ffn.size = 40;
  const Json written = ToHfJson(config);
  ASSERT_EQ(written["block_configs"].size(), 3u);
  EXPECT_EQ(written["block_configs"][1]["attention"]["num_key_value_heads"], 2);
  EXPECT_EQ(written["block_configs"][2]["ffn"]["intermediate_size"], 40);
  EXPECT_EQ(ModelConfigFromJson(written, "c"), config);
}

TEST(HfConfigTest, AnyModelDialectIsRead) {
  Json json = Llama();
  json["block_configs"] = Json::array();
  for (int i = 0; i < 3; ++i)
    json["block_configs"].push_back({{"attention", {{"no_op", i == 1}, {"num_key_value_heads", 2}}},
                                     {"ffn", {{"no_op", i == 2}, {"intermediate_size", 40}}}});
  const ModelConfig config = ModelConfigFromJson(json, "c");
  EXPECT_EQ(config.blocks[0].attention.n_kv_heads, 2);
  EXPECT_EQ(config.blocks[1].attention.form, SubBlockForm::kNone);
  EXPECT_EQ(config.blocks[2].ffn.form, SubBlockForm::kNone);
}

TEST(HfConfigTest, BadConfigsAreRefusedByField) {
  struct Case {
    const char* name;
    std::function<void(Json&)> spoil;
    const char* message;
  };
  const Case cases[] = {
      {"missing", [](Json& j) { j.erase("hidden_size"); }, "hidden_size: missing"},
      {"type", [](Json& j) { j["hidden_size"] = "64"; }, "hidden_size: expected an integer"},
      {"fraction", [](Json& j) { j["vocab_size"] = 1.5; }, "vocab_size: expected an integer"},
      {"huge", [](Json& j) { j["vocab_size"] = 18446744073709551615u; }, "vocab_size"},
      {"no words", [](Json& j) { j["vocab_size"] = 0; }, "vocab_size is 0, expected 1 to 16777216"},
      {"many words", [](Json& j) { j["vocab_size"] = 16777217; }, "vocab_size is 16777217"},
      {"no width", [](Json& j) { j["hidden_size"] = 0; }, "hidden_size is 0"},
      {"no positions", [](Json& j) { j["max_position_embeddings"] = 0; },
       "max_position_embeddings"},
      {"negative", [](Json& j) { j["num_hidden_layers"] = -1; }, "num_hidden_layers is -1"},
      {"many layers", [](Json& j) { j["num_hidden_layers"] = 1000000000; }, "num_hidden_layers"},
      {"no heads", [](Json& j) { j["num_attention_heads"] = 0; }, "num_attention_heads"},
      {"kv", [](Json& j) { j["num_key_value_heads"] = 3; }, "3 kv heads do not divide 8"},
      {"odd", [](Json& j) { j["head_dim"] = 7; }, "head_dim 7 is odd"},
      {"family", [](Json& j) { j["model_type"] = "mamba"; }, "model_type \"mamba\""},
      {"quantised",
       [](Json& j) {
         j["quantization_config"] = {{"bits", 4}};
       },
       "quantised"},
      {"nan", [](Json& j) { j["rms_norm_eps"] = NAN; }, "rms_norm_eps: expected a number, got nan"},
      {"eos",
       [](Json& j) {
         j["eos_token_id"] = {2, 4294967361};
       },
       "eos_token_id"},
      {"negative eos", [](Json& j) { j["eos_token_id"] = -4294967231; }, "eos_token_id"},
      {"bos", [](Json& j) { j["bos_token_id"] = 4294967297; }, "bos_token_id"},
      {"pad", [](Json& j) { j["pad_token_id"] = 0.5; }, "pad_token_id"},
      {"act", [](Json& j) { j["hidden_act"] = "tanh"; }, "hidden_act \"tanh\""},
      {"dtype", [](Json& j) { j["torch_dtype"] = "int8"; }, "torch_dtype"},
      {"rope",
       [](Json& j) {
         j["rope_scaling"] = {{"type", "spiral"}};
       },
       "rope_type \"spiral\""},
      {"linear",
       [](Json& j) {
         j["rope_scaling"] = {{"type", "linear"}};
       },
       "factor: missing"},
      {"yarn",
       [](Json& j) {
         j["rope_scaling"] = {{"rope_type", "yarn"}};
       },
       "factor: missing"},
      {"llama3",
       [](Json& j) {
         j["rope_scaling"] = {{"rope_type", "llama3"}, {"factor", 8.0}, {"low_freq_factor", 1.0}};
       },
       "high_freq_factor: missing"},
      {"longrope",
       [](Json& j) {
         j["rope_scaling"] = {{"type", "longrope"}, {"short_factor", {1, 1, 1, 1}}};
       },
       "long_factor: missing"},
      {"short longrope",
       [](Json& j) {
         j["rope_scaling"] = {
             {"type", "longrope"}, {"short_factor", {1, 1, 1}}, {"long_factor", {1, 1, 1, 1}}};
       },
       "need 4 positive numbers"},
      {"two scalings",
       [](Json& j) {
         j["rope_parameters"] = {{"rope_type", "linear"}, {"factor", 2.0}};
         j["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 4.0}};
       },
       "rope_parameters and rope_scaling"},
      {"a theta that nobody would read",
       [](Json& j) {
         j.erase("rope_theta");
         j["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 5e5}};
         j["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 4.0}};
       },
       "rope_parameters and rope_scaling"},
      {"blocks", [](Json& j) { j["block_configs"] = Json::array(); }, "block_configs"},
      {"not an object", [](Json& j) { j = Json::array(); }, "expected an object"},
  };
  for (const Case& c : cases) {
    Json json = Llama();
    c.spoil(json);
    try {
      (void)ModelConfigFromJson(json, "config.json");
      ADD_FAILURE() << c.name << " was accepted";
    } catch (const Error& e) {
      EXPECT_THAT(e.what(), HasSubstr(c.message)) << c.name;
      EXPECT_THAT(e.what(), testing::StartsWith("config.json")) << c.name;
    }
  }
}

TEST(RopeTest, Llama3ScalingKeepsShortWavesAndStretchesLongOnes) {
  const RopeConfig rope{RopeConfig::Type::kLlama3, 5e5, 8, 1, 4, 8192};
  const std::vector<double> scaled = rope.InverseFrequencies(128);
  for (size_t k = 0; k < scaled.size(); ++k) {
    const double plain = std::pow(5e5, -2.0 * static_cast<double>(k) / 128.0);
    const double wavelength = 2 * M_PI / plain;
    if (wavelength < 8192.0 / 4) {
      EXPECT_DOUBLE_EQ(scaled[k], plain);
    } else if (wavelength > 8192) {
      EXPECT_DOUBLE_EQ(scaled[k], plain / 8);
    } else {
      // Between them the two are blended linearly in the number of turns.
      const double s = (8192 / wavelength - 1) / (4 - 1);
      EXPECT_NEAR(scaled[k], plain * ((1 - s) / 8 + s), 1e-15);
    }
  }
}

// As transformers 5 reads them.
TEST(HfConfigTest, AScalingBesideTheParametersOfTransformers5Counts) {
  Json json = Llama();
  json["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 10000.0}};
  json["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 4.0}};
  const ModelConfig config = ModelConfigFromJson(json, "c");
  EXPECT_EQ(config.rope.type, RopeConfig::Type::kLinear);
  EXPECT_EQ(config.rope.factor, 4);
}

TEST(HfConfigTest, WindowsOfABlockOfLlamaAreWritten) {
  ModelConfig config = ModelConfigFromJson(Llama(), "c");
  const Json without = ToHfJson(config);
  config.blocks[1].attention.window = 16;
  const Json written = ToHfJson(config);
  EXPECT_NE(written, without) << "another model";
  EXPECT_EQ(written["model_type"], "nemotron-nas");
  EXPECT_TRUE(written["block_configs"][0]["attention"]["window_length"].is_null());
  EXPECT_EQ(written["block_configs"][1]["attention"]["window_length"], 16);
  EXPECT_EQ(ModelConfigFromJson(written, "c"), config);
}

TEST(HfConfigTest, LlamaPassesALeftOverWindowOver) {
  Json json = Llama();
  json["sliding_window"] = 16;
  EXPECT_EQ(ModelConfigFromJson(json, "c"), ModelConfigFromJson(Llama(), "c"));
}

TEST(HfConfigTest, ThePaddingIdComesBack) {
  Json json = Llama();
  json["pad_token_id"] = 3;
  const ModelConfig config = ModelConfigFromJson(json, "c");
  EXPECT_EQ(config.pad_id, 3);
  EXPECT_EQ(ModelConfigFromJson(Json::parse(ToHfJson(config).dump()), "c"), config);
  for (const char* name : {"bos_token_id", "eos_token_id", "pad_token_id"}) {
    Json zero = Llama();
    zero[name] = 0;
    EXPECT_EQ(ToHfJson(ModelConfigFromJson(zero, "c"))[name], 0) << "the first word is one";
  }
  EXPECT_FALSE(ToHfJson(ModelConfigFromJson(Llama(), "c")).contains("pad_token_id"))
      << "configs without one keep their digest";
}

ModelConfig WithScaling(const char* scaling) {
  Json json = Llama();
  json["head_dim"] = 16;
  json["rope_scaling"] = Json::parse(scaling);
  const ModelConfig config = ModelConfigFromJson(json, "c");
  EXPECT_EQ(ModelConfigFromJson(Json::parse(ToHfJson(config).dump()), "c"), config) << scaling;
  return config;
}

void ExpectFrequencies(const std::vector<double>& actual, const std::vector<double>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t k = 0; k < actual.size(); ++k)
    EXPECT_NEAR(actual[k], expected[k], 2e-6 * expected[k]) << k;
}

// Figures of transformers 5.24, modeling_rope_utils.py.
TEST(RopeTest, OddScalingsAreRefusedOneFieldAtATime) {
  const auto refusal = [](const std::string& field, double value) -> std::string {
    Json scaling = {{"rope_type", "yarn"},   {"factor", 4.0},
                    {"beta_fast", 32.0},     {"beta_slow", 1.0},
                    {"attention_factor", 1}, {"original_max_position_embeddings", 64}};
    scaling[field] = value;
    try {
      (void)WithScaling(scaling.dump().c_str());
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(refusal("factor", 4), "");
  EXPECT_EQ(refusal("beta_fast", 1), "");  // both alike
  for (const auto& [field, value] :
       std::vector<std::pair<std::string, double>>{{"factor", 0},
                                                   {"factor", -1},
                                                   {"attention_factor", -1},
                                                   {"beta_slow", 0},
                                                   {"beta_slow", -1},
                                                   {"beta_slow", 33},
                                                   {"beta_fast", 0.5},
                                                   {"original_max_position_embeddings", 1}}) {
    EXPECT_NE(refusal(field, value), "") << field << ' ' << value;
  }
}

TEST(RopeTest, YarnIsThatOfTheReference) {
  const RopeConfig usual =
      WithScaling(R"({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64})")
          .rope;
  ExpectFrequencies(usual.InverseFrequencies(16),
                    {1.0, 0.237170815, 0.049999997, 0.00790569466, 0.00249999994, 0.000790569466,
                     0.000250000012, 7.90569466e-05});
  EXPECT_NEAR(usual.attention_factor, 1.138629436111989, 1e-12);
  // A ramp that begins behind the first pairs.
  const RopeConfig longer =
      WithScaling(
          R"({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 4096})")
          .rope;
  ExpectFrequencies(longer.InverseFrequencies(16),
                    {1.0, 0.31622776601683794, 0.1, 0.02569350598886808, 0.00625,
                     0.0013834964763236657, 0.00025, 7.905694150420948e-05});
  const RopeConfig unusual =
      WithScaling(R"({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64,
                      "truncate": false, "beta_fast": 16.0, "mscale": 0.7, "mscale_all_dim": 0.5})")
          .rope;
  ExpectFrequencies(unusual.InverseFrequencies(16),
                    {1.0, 0.198583528, 0.0255952496, 0.00790569466, 0.00249999994, 0.000790569466,
                     0.000250000012, 7.90569466e-05});
  EXPECT_NEAR(unusual.attention_factor, 1.0259286501478284, 1e-12);
}

TEST(RopeTest, LongRopeIsThatOfTheReference) {
  const RopeConfig rope =
      WithScaling(R"({"rope_type": "longrope", "original_max_position_embeddings": 64,
                      "short_factor": [1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7],
                      "long_factor": [1, 2, 3, 4, 5, 6, 7, 8]})")
          .rope;
  ExpectFrequencies(rope.InverseFrequencies(16, rope.IsLong(64)),
                    {1.0, 0.287479758, 0.0833333358, 0.0243252143, 0.00714285718, 0.00210818532,
                     0.000624999986, 0.000186016332});
  ExpectFrequencies(rope.InverseFrequencies(16, rope.IsLong(65)),
                    {1.0, 0.158113882, 0.0333333351, 0.00790569466, 0.00200000009, 0.00052704633,
                     0.000142857141, 3.95284733e-05});
  EXPECT_NEAR(rope.attention_factor, 1.1547005383792517, 1e-12);
}

TEST(RopeTest, DynamicScalingIsPlainWithinTheContext) {
  const ModelConfig config = WithScaling(R"({"rope_type": "dynamic", "factor": 4.0})");
  EXPECT_EQ(config.rope.InverseFrequencies(16), RopeConfig{}.InverseFrequencies(16));
}

TEST(HfConfigTest, LayersAreCountedUnderTheFamilysOwnName) {
  const TempFolder temporary;
  const std::string folder = temporary.path();
  const std::string path = folder + "/config.json";
  const std::pair<const char*, int64_t> configs[] = {
      {R"({"model_type": "llama", "num_hidden_layers": 5})", 5},
      {R"({"num_hidden_layers": 4})", 4},
      {R"({"model_type": "nemotron-nas", "num_hidden_layers": 7})", 7},
      {R"({"model_type": "gpt2", "n_layer": 3})", 3},
      {R"({"model_type": "gpt_neo", "num_layers": 6})", 6}};
  for (const auto& [text, layers] : configs) {
    WriteWholeFile(path, text);
    EXPECT_EQ(CountLayers(folder), layers) << text;
  }
  for (const char* text : {R"({"model_type": "gpt2", "num_hidden_layers": 3})",
                           R"({"model_type": "mamba", "num_hidden_layers": 3})",
                           R"({"num_hidden_layers": 0})", R"({"num_hidden_layers": "3"})"}) {
    WriteWholeFile(path, text);
    EXPECT_THROW((void)CountLayers(folder), Error) << text;
  }
}

}  // namespace
}  // namespace puzzle
