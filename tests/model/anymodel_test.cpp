// config.json as ModelOpt writes it: the published shape, and what comes back.
#include "model/files/anymodel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "model/families/family.h"
#include "model/files/checkpoint.h"
#include "model/files/hf_config.h"
#include "model/transformer.h"
#include "tests/io/temp_folder.h"
#include "tests/io/test_files.h"
#include "tests/model/same_bits.h"
#include "tests/model/tiny_model.h"

namespace puzzle {
namespace {

using Json = nlohmann::ordered_json;
using testing::HasSubstr;

ModelConfig AnyChild() {
  ModelConfig config = TinyConfig();
  config.blocks = {{{SubBlockForm::kFull, 2}, {SubBlockForm::kFull, 48}},
                   {{SubBlockForm::kFull, 2}, {SubBlockForm::kFull, 33}},
                   {{SubBlockForm::kFull, 1}, {SubBlockForm::kFull, 48}},
                   {{SubBlockForm::kFull, 2}, {SubBlockForm::kNone, 0}},
                   {{SubBlockForm::kNone, 0}, {SubBlockForm::kFull, 48}},
                   {{SubBlockForm::kNone, 0}, {SubBlockForm::kNone, 0}}};
  return config;
}

// The shapes that ModelOpt, and transformers from 5.14 on, document.
TEST(AnyModelTest, SizesAreSaidByLayerInBothWays) {
  const Json json = AnyModelJson(AnyChild());
  EXPECT_EQ(json["model_type"], "llama");
  EXPECT_EQ(json["architectures"], Json({"AnyModel"}));
  EXPECT_EQ(json["base_architecture"], "LlamaForCausalLM");
  EXPECT_EQ(json["num_hidden_layers"], 6);
  EXPECT_EQ(json["num_key_value_heads"], 2);
  EXPECT_EQ(json["intermediate_size"], 48);
  EXPECT_EQ(json["block_configs"].size(), 6u);
  EXPECT_EQ(json["block_configs"][1], Json::parse(R"({
      "attention": {"no_op": false, "replace_with_linear": false, "num_key_value_heads": 2,
                    "window_length": null},
      "ffn": {"no_op": false, "replace_with_linear": false, "intermediate_size": 33, "moe": null}
  })"));
  EXPECT_EQ(json["block_configs"][5]["attention"]["no_op"], true);
  EXPECT_TRUE(json["block_configs"][5]["attention"]["num_key_value_heads"].is_null());
  EXPECT_EQ(json["per_layer_config"], Json::parse(R"({
      "1": {"intermediate_size": 33}, "2": {"num_key_value_heads": 1}, "3": {"skip": ["mlp"]},
      "4": {"skip": ["attention"]}, "5": {"skip": ["attention", "mlp"]}
  })"));
  EXPECT_EQ(json["allow_global_per_layer_attribute_access"], true);
  EXPECT_FALSE(json.contains("auto_map"));
}

TEST(AnyModelTest, LayersThatAreAlikeNeedNoExceptions) {
  const Json json = AnyModelJson(TinyConfig());
  EXPECT_FALSE(json.contains("per_layer_config"));
  EXPECT_EQ(ModelConfigFromJson(json, "config"), TinyConfig());
}

TEST(AnyModelTest, FoldersComeBackBitForBit) {
  const TempFolder folder;
  for (const char* family : {"llama", "mistral", "qwen2", "qwen3"}) {
    ModelConfig config = AnyChild();
    config.family = family;
    config.arch = FamilyOf(config).arch;
    config.blocks[0].attention.n_query_heads = config.family == "llama" ? 2 : 0;
    if (config.family == "llama") config.blocks[0].attention.n_kv_heads = 1;
    ModelWeights model = TinyModel(config);
    const auto written = SaveCheckpoint(folder / family, model, {}, AnyModelJson(config));
    EXPECT_FALSE(written.contains("modeling_decilm.py")) << family;
    ModelWeights loaded = LoadCheckpoint(folder / family);
    EXPECT_EQ(loaded.config, config) << family;
    ExpectSameBits(Slots(loaded), Slots(model));
  }
}

TEST(AnyModelTest, WhatItHasNoWordForIsRefused) {
  const auto refusal = [](const ModelConfig& config) {
    return ErrorOf([&] { (void)AnyModelJson(config); });
  };
  ModelConfig config = AnyChild();
  config.blocks[2].ffn = {SubBlockForm::kLinear, 0};
  EXPECT_THAT(refusal(config), HasSubstr("layer 2 has a linear sub-block"));
  config = AnyChild();
  for (BlockSpec& block : config.blocks) block.attention = {SubBlockForm::kNone, 0};
  EXPECT_THAT(refusal(config), HasSubstr("no layer has attention"));
  config = TinyConfig();
  config.family = "gpt2";
  EXPECT_THAT(refusal(config), HasSubstr("gpt2 has no field for kv heads"));
  config = TinyConfig();
  config.blocks[1].attention.window = 7;
  EXPECT_THAT(refusal(config), HasSubstr("windows"));
}

}  // namespace
}  // namespace puzzle
