#include "model/files/anymodel.h"

#include <fmt/format.h>

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "io/error.h"
#include "model/families/family.h"
#include "model/files/hf_config.h"
#include "model/files/stored_heads.h"

namespace puzzle {

namespace {

using Json = nlohmann::ordered_json;

[[noreturn]] void RefuseAnyModel(const std::string& what) {
  throw Error("cannot be written as AnyModel: " + what);
}

/// The number that most full sub-blocks have, the smaller one of equals.
int64_t MostCommon(const ModelConfig& config, const char* what,
                   const std::function<int64_t(const BlockSpec&)>& size) {
  std::map<int64_t, int> counts;
  for (const BlockSpec& block : config.blocks)
    if (const int64_t own = size(block); own > 0) ++counts[own];
  if (counts.empty()) RefuseAnyModel(fmt::format("no layer has {}", what));
  auto most = counts.begin();
  for (auto it = counts.begin(); it != counts.end(); ++it)
    if (it->second > most->second) most = it;
  return most->first;
}

void RefuseLinear(const ModelConfig& config) {
  for (size_t i = 0; i < config.blocks.size(); ++i)
    if (config.blocks[i].attention.is_linear() || config.blocks[i].ffn.is_linear())
      RefuseAnyModel(fmt::format("layer {} has a linear sub-block", i));
}

/// The model with the same sub-blocks everywhere: what its global fields say.
ModelConfig CommonConfig(const ModelConfig& config) {
  ModelConfig common = config;
  const int64_t kv_heads = MostCommon(
      config, "attention", [](const BlockSpec& block) { return block.attention.n_kv_heads; });
  const int64_t size =
      MostCommon(config, "an FFN", [](const BlockSpec& block) { return block.ffn.size; });
  for (BlockSpec& block : common.blocks) {
    block.attention.form = block.ffn.form = SubBlockForm::kFull;
    block.attention.n_kv_heads = kv_heads;
    block.ffn.size = size;
  }
  return common;
}

Json BlockConfig(const BlockSpec& block) {
  const auto sized = [](bool is_full, int64_t value) {
    return is_full ? Json(value) : Json(nullptr);
  };
  const AttentionSpec& attention = block.attention;
  return {{"attention",
           {{"no_op", attention.is_none()},
            {"replace_with_linear", false},
            {"num_key_value_heads", sized(attention.is_full(), attention.n_kv_heads)},
            {"window_length", attention.window > 0 ? Json(attention.window) : Json(nullptr)}}},
          {"ffn",
           {{"no_op", block.ffn.is_none()},
            {"replace_with_linear", false},
            {"intermediate_size", sized(block.ffn.is_full(), block.ffn.size)},
            {"moe", nullptr}}}};
}

/// What of `block` is not as in `common`; empty when nothing is.
Json Difference(const BlockSpec& block, const BlockSpec& common, const Family::Fields& names) {
  Json own = Json::object();
  Json skipped = Json::array();
  if (block.attention.is_none()) {
    skipped.push_back("attention");
  } else if (block.attention.n_kv_heads != common.attention.n_kv_heads) {
    own[names.kv_heads] = block.attention.n_kv_heads;
  }
  if (block.ffn.is_none()) {
    skipped.push_back("mlp");
  } else if (block.ffn.size != common.ffn.size) {
    own[names.ffn] = block.ffn.size;
  }
  if (!skipped.empty()) own["skip"] = skipped;
  return own;
}

}  // namespace

Json AnyModelJson(const ModelConfig& config) {
  const Family& family = FamilyOf(config);
  if (family.fields.kv_heads == nullptr)
    RefuseAnyModel(fmt::format("{} has no field for kv heads", config.family));
  RefuseLinear(config);
  const ModelConfig stored = StoredShape(config);
  const ModelConfig common = CommonConfig(stored);
  Json json = ToHfJson(common);
  if (json.contains("block_configs"))
    RefuseAnyModel("the windows of its layers are none that " + config.family + " has words for");
  json["architectures"] = {"AnyModel"};
  json["base_architecture"] = family.architecture;
  Json layers = Json::object();
  for (size_t i = 0; i < stored.blocks.size(); ++i) {
    json["block_configs"].push_back(BlockConfig(stored.blocks[i]));
    Json own = Difference(stored.blocks[i], common.blocks[i], family.fields);
    if (!own.empty()) layers[std::to_string(i)] = std::move(own);
  }
  if (!layers.empty()) {
    json["per_layer_config"] = std::move(layers);
    json["allow_global_per_layer_attribute_access"] = true;
  }
  AddUnpaddedHeads(config, json);
  return json;
}

}  // namespace puzzle
