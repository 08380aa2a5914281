#include <algorithm>
#include <nlohmann/json.hpp>

#include "model/families/family.h"
#include "model/families/rope_fields.h"
#include "model/files/hf_config.h"
#include "model/files/stored_heads.h"

namespace puzzle {

namespace {
using Json = nlohmann::ordered_json;

const char* HfDType(DType dtype) {
  switch (dtype) {
    case DType::kF16:
      return "float16";
    case DType::kBF16:
      return "bfloat16";
    default:
      return "float32";
  }
}

// In the dialect of nemotron-nas.
Json DeciBlock(const BlockSpec& block, const ModelConfig& config, bool as_mult) {
  const bool full_attention = block.attention.is_full();
  const int64_t window = block.attention.window;
  Json attention = {{"n_heads_in_group", nullptr},
                    {"no_op", block.attention.is_none()},
                    {"replace_with_linear", block.attention.is_linear()},
                    {"sparsify", nullptr},
                    {"window_length", window > 0 ? Json(window) : Json(nullptr)},
                    {"num_sink_tokens", nullptr},
                    {"unshifted_sink", false},
                    {"use_prefill_window_in_sink_attention", false}};
  if (full_attention) attention["n_heads_in_group"] = config.n_heads / block.attention.n_kv_heads;
  Json ffn;
  if (as_mult) {
    // Readers compute ceil256(int(2 * mult * hidden / 3)); 1.5 * size / hidden returns `size`.
    const bool full = block.ffn.is_full();
    ffn["ffn_mult"] = full ? Json(1.5 * static_cast<double>(block.ffn.size) /
                                  static_cast<double>(config.hidden_size))
                           : Json(nullptr);
  } else {
    ffn["intermediate_size"] = block.ffn.is_full() ? Json(block.ffn.size) : Json(nullptr);
  }
  ffn["no_op"] = block.ffn.is_none();
  ffn["replace_with_linear"] = block.ffn.is_linear();
  ffn["sparsify"] = nullptr;
  return {{"attention", attention}, {"ffn", ffn}};
}

// As readers of ModelOpt's AnyModel folders expect it, in a config of the parent's own family.
Json AnyModelBlock(const BlockSpec& block) {
  const auto sized = [](bool is_full, int64_t value) {
    return is_full ? Json(value) : Json(nullptr);
  };
  const AttentionSpec& attention = block.attention;
  return {{"attention",
           {{"num_key_value_heads", sized(attention.is_full(), attention.n_kv_heads)},
            {"no_op", attention.is_none()},
            {"replace_with_linear", attention.is_linear()},
            {"window_length", attention.window > 0 ? Json(attention.window) : Json(nullptr)}}},
          {"ffn",
           {{"intermediate_size", sized(block.ffn.is_full(), block.ffn.size)},
            {"no_op", block.ffn.is_none()},
            {"replace_with_linear", block.ffn.is_linear()}}}};
}

// The config of a model whose blocks are all like the first full ones.
Json PlainJson(const ModelConfig& config) {
  const Family& family = FamilyOf(config);
  const Family::Fields& names = family.fields;
  Json kv_heads = nullptr, ffn = nullptr;
  for (const BlockSpec& block : config.blocks) {
    if (kv_heads.is_null() && block.attention.is_full()) kv_heads = block.attention.n_kv_heads;
    if (ffn.is_null() && block.ffn.is_full()) ffn = block.ffn.size;
  }
  Json json;
  json["architectures"] = {family.architecture};
  json["model_type"] = family.model_type;
  json[names.hidden] = config.hidden_size;
  json[names.layers] = config.n_layers();
  json[names.heads] = config.n_heads;
  if (names.kv_heads != nullptr) json["head_dim"] = config.head_dim;
  json[names.ffn] = ffn;
  if (names.kv_heads != nullptr) json[names.kv_heads] = kv_heads;
  json[names.activation] = ActivationName(config.arch.activation);
  if (names.norm_eps != nullptr) json[names.norm_eps] = config.norm_eps;
  json["vocab_size"] = config.vocab_size;
  json[names.positions] = config.max_positions;
  if (family.write != nullptr) family.write(config, json);
  json["tie_word_embeddings"] = config.tied_embeddings;
  json["torch_dtype"] = HfDType(config.stored_dtype);
  if (config.arch.positions == Architecture::Positions::kRotary) WriteRope(config.rope, json);
  json["bos_token_id"] = config.bos_id >= 0 ? Json(config.bos_id) : Json(nullptr);
  json["eos_token_id"] = config.eos_ids.empty()       ? Json(nullptr)
                         : config.eos_ids.size() == 1 ? Json(config.eos_ids.front())
                                                      : Json(config.eos_ids);
  if (config.pad_id >= 0) json["pad_token_id"] = config.pad_id;
  json["initializer_range"] = 0.02;
  json["use_cache"] = true;
  return json;
}

// Whether `plain` says all that there is to say.
bool IsPlain(const ModelConfig& config, const Json& plain) {
  const bool full = std::all_of(
      config.blocks.begin(), config.blocks.end(),
      [](const BlockSpec& block) { return block.attention.is_full() && block.ffn.is_full(); });
  return full && ModelConfigFromJson(plain, "config").blocks == config.blocks;
}

void AddDeciBlocks(const ModelConfig& config, Json& json) {
  json["architectures"] = {"DeciLMForCausalLM"};
  json["model_type"] = "nemotron-nas";
  json["auto_map"] = {{"AutoConfig", "configuration_decilm.DeciLMConfig"}};
  json["intermediate_size"] = nullptr;
  json["num_key_value_heads"] = nullptr;
  const bool as_mult = std::all_of(
      config.blocks.begin(), config.blocks.end(),
      [](const BlockSpec& block) { return !block.ffn.is_full() || block.ffn.size % 256 == 0; });
  for (const BlockSpec& block : config.blocks)
    json["block_configs"].push_back(DeciBlock(block, config, as_mult));
}

// REQUIRES: every block has all query heads.
Json StoredJson(const ModelConfig& config) {
  Json json = PlainJson(config);
  if (IsPlain(config, json)) return json;
  if (config.family == "llama") {
    AddDeciBlocks(config, json);
  } else {
    for (const BlockSpec& block : config.blocks)
      json["block_configs"].push_back(AnyModelBlock(block));
  }
  return json;
}

}  // namespace

Json ToHfJson(const ModelConfig& config) {
  Json json = StoredJson(StoredShape(config));
  AddUnpaddedHeads(config, json);
  return json;
}

}  // namespace puzzle
