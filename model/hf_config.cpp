#include "model/hf_config.h"

#include <cmath>
#include <filesystem>
#include <limits>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/json_text.h"

namespace puzzle {

namespace {
using Json = nlohmann::ordered_json;

// Typed access to a JSON object with messages "where: field: expected ..., got ...".
class Fields {
 public:
  Fields(const Json& object, std::string where) : object_(object), where_(std::move(where)) {
    if (!object.is_object()) throw Error(where_ + ": expected an object");
  }

  // nullptr when absent or null.
  const Json* Find(const char* name) const {
    const auto it = object_.find(name);
    return it == object_.end() || it->is_null() ? nullptr : &*it;
  }
  std::optional<int64_t> FindInt(const char* name) const {
    const Json* value = Find(name);
    if (value == nullptr) return std::nullopt;
    if (!value->is_number_integer()) Wrong(name, "an integer", *value);
    if (value->is_number_unsigned() &&
        value->get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
      Wrong(name, "a smaller integer", *value);
    return value->get<int64_t>();
  }
  int64_t Int(const char* name) const {
    const auto value = FindInt(name);
    if (!value) throw Error(fmt::format("{}: {}: missing", where_, name));
    return *value;
  }
  double Number(const char* name, double fallback) const {
    const Json* value = Find(name);
    if (value == nullptr) return fallback;
    if (!value->is_number()) Wrong(name, "a number", *value);
    return value->get<double>();
  }
  bool Bool(const char* name, bool fallback) const {
    const Json* value = Find(name);
    if (value == nullptr) return fallback;
    if (!value->is_boolean()) Wrong(name, "true or false", *value);
    return value->get<bool>();
  }
  std::string Text(const char* name, const char* fallback) const {
    const Json* value = Find(name);
    if (value == nullptr) return fallback;
    if (!value->is_string()) Wrong(name, "a string", *value);
    return value->get<std::string>();
  }
  [[noreturn]] void Wrong(const char* name, const char* expected, const Json& got) const {
    throw Error(fmt::format("{}: {}: expected {}, got {}", where_, name, expected, got.dump()));
  }
  const std::string& where() const { return where_; }

 private:
  const Json& object_;
  std::string where_;
};

RopeConfig ReadRope(const Fields& fields) {
  RopeConfig rope;
  // transformers v5 moved theta and scaling into `rope_parameters`.
  const Json* scaling = fields.Find("rope_parameters");
  if (scaling == nullptr) scaling = fields.Find("rope_scaling");
  rope.theta = fields.Number("rope_theta", 10000.0);
  if (scaling == nullptr) return rope;
  const Fields inner(*scaling, fields.where() + ": rope_scaling");
  rope.theta = inner.Number("rope_theta", rope.theta);
  const std::string type = inner.Text("rope_type", inner.Text("type", "default").c_str());
  if (type == "default") return rope;
  rope.factor = inner.Number("factor", 1.0);
  if (type == "linear") {
    rope.type = RopeConfig::Type::kLinear;
  } else if (type == "llama3") {
    rope.type = RopeConfig::Type::kLlama3;
    rope.low_freq_factor = inner.Number("low_freq_factor", 1.0);
    rope.high_freq_factor = inner.Number("high_freq_factor", 4.0);
    rope.original_max_positions = inner.FindInt("original_max_position_embeddings").value_or(8192);
    if (rope.high_freq_factor <= rope.low_freq_factor || rope.low_freq_factor <= 0)
      throw Error(inner.where() + ": high_freq_factor must exceed low_freq_factor, both positive");
  } else {
    throw Error(fmt::format("{}: rope_type \"{}\" is not supported (default, linear, llama3)",
                            inner.where(), type));
  }
  return rope;
}

DType ReadDType(const Fields& fields) {
  const std::string name = fields.Text("dtype", fields.Text("torch_dtype", "float32").c_str());
  if (name == "float32") return DType::kF32;
  if (name == "float16") return DType::kF16;
  if (name == "bfloat16") return DType::kBF16;
  throw Error(fmt::format("{}: torch_dtype \"{}\" is not supported (float32, float16, bfloat16)",
                          fields.where(), name));
}

SubBlockForm ReadForm(const Fields& fields) {
  const bool none = fields.Bool("no_op", false);
  const bool linear = fields.Bool("replace_with_linear", false);
  if (none && linear)
    throw Error(fields.where() + ": no_op and replace_with_linear exclude each other");
  return none ? SubBlockForm::kNone : linear ? SubBlockForm::kLinear : SubBlockForm::kFull;
}

AttentionSpec ReadAttention(const Fields& fields, int64_t n_heads) {
  AttentionSpec spec{ReadForm(fields), 0};
  if (spec.form != SubBlockForm::kFull) return spec;
  if (const auto kv = fields.FindInt("num_key_value_heads")) {
    spec.n_kv_heads = *kv;
    return spec;
  }
  const int64_t group = fields.Int("n_heads_in_group");
  if (group < 1 || n_heads % group != 0)
    throw Error(fmt::format("{}: n_heads_in_group {} does not divide {} attention heads",
                            fields.where(), group, n_heads));
  spec.n_kv_heads = n_heads / group;
  return spec;
}

FfnSpec ReadFfn(const Fields& fields, int64_t hidden) {
  FfnSpec spec{ReadForm(fields), 0};
  if (spec.form != SubBlockForm::kFull) return spec;
  if (const auto size = fields.FindInt("intermediate_size")) {
    spec.size = *size;
    return spec;
  }
  const double mult = fields.Number("ffn_mult", 0.0);
  if (!(mult > 0 && mult < 1e6))
    throw Error(fields.where() + ": needs intermediate_size or a positive ffn_mult");
  const auto raw = static_cast<int64_t>(2.0 * mult * static_cast<double>(hidden) / 3.0);
  spec.size = (raw + 255) / 256 * 256;
  return spec;
}

void RefuseUnsupported(const Fields& fields) {
  const std::string type = fields.Text("model_type", "llama");
  if (type != "llama" && type != "nemotron-nas")
    throw Error(fmt::format("{}: model_type \"{}\" is not supported (llama, nemotron-nas)",
                            fields.where(), type));
  if (fields.Find("quantization_config") != nullptr)
    throw Error(fields.where() + ": quantization_config: quantised checkpoints are not supported");
  const std::string act = fields.Text("hidden_act", "silu");
  if (act != "silu")
    throw Error(fmt::format("{}: hidden_act \"{}\" is not supported (silu)", fields.where(), act));
  for (const char* name : {"attention_bias", "mlp_bias"})
    if (fields.Bool(name, false))
      throw Error(fmt::format("{}: {}: biases are not supported", fields.where(), name));
  if (fields.Find("sliding_window") != nullptr && fields.Bool("use_sliding_window", true))
    throw Error(fields.where() + ": sliding_window: windowed attention is not supported");
}

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

Json RopeScalingJson(const RopeConfig& rope) {
  if (rope.type == RopeConfig::Type::kPlain) return nullptr;
  if (rope.type == RopeConfig::Type::kLinear)
    return {{"rope_type", "linear"}, {"type", "linear"}, {"factor", rope.factor}};
  return {{"rope_type", "llama3"},
          {"factor", rope.factor},
          {"low_freq_factor", rope.low_freq_factor},
          {"high_freq_factor", rope.high_freq_factor},
          {"original_max_position_embeddings", rope.original_max_positions}};
}

Json BlockJson(const BlockSpec& block, const ModelConfig& config, bool as_mult) {
  const bool full_attention = block.attention.form == SubBlockForm::kFull;
  Json attention = {{"n_heads_in_group", nullptr},
                    {"no_op", block.attention.form == SubBlockForm::kNone},
                    {"replace_with_linear", block.attention.form == SubBlockForm::kLinear},
                    {"sparsify", nullptr},
                    {"window_length", nullptr},
                    {"num_sink_tokens", nullptr},
                    {"unshifted_sink", false},
                    {"use_prefill_window_in_sink_attention", false}};
  if (full_attention) attention["n_heads_in_group"] = config.n_heads / block.attention.n_kv_heads;
  Json ffn;
  if (as_mult) {
    // Readers compute ceil256(int(2 * mult * hidden / 3)); 1.5 * size / hidden returns `size`.
    const bool full = block.ffn.form == SubBlockForm::kFull;
    ffn["ffn_mult"] = full ? Json(1.5 * static_cast<double>(block.ffn.size) /
                                  static_cast<double>(config.hidden_size))
                           : Json(nullptr);
  } else {
    ffn["intermediate_size"] =
        block.ffn.form == SubBlockForm::kFull ? Json(block.ffn.size) : Json(nullptr);
  }
  ffn["no_op"] = block.ffn.form == SubBlockForm::kNone;
  ffn["replace_with_linear"] = block.ffn.form == SubBlockForm::kLinear;
  ffn["sparsify"] = nullptr;
  return {{"attention", attention}, {"ffn", ffn}};
}
}  // namespace

ModelConfig ReadHfConfig(const std::string& path) {
  std::filesystem::path file(path);
  if (std::filesystem::is_directory(file)) file /= "config.json";
  const JsonText text = JsonText::ParseFile(file.string());
  return ModelConfigFromJson(text.value(), file.string());
}

ModelConfig ModelConfigFromJson(const Json& json, const std::string& where) {
  const Fields fields(json, where);
  RefuseUnsupported(fields);
  ModelConfig config;
  config.vocab_size = fields.Int("vocab_size");
  config.hidden_size = fields.Int("hidden_size");
  config.n_heads = fields.Int("num_attention_heads");
  if (config.n_heads < 1) throw Error(where + ": num_attention_heads must be positive");
  config.head_dim = fields.FindInt("head_dim").value_or(config.hidden_size / config.n_heads);
  config.max_positions = fields.FindInt("max_position_embeddings").value_or(2048);
  config.rms_norm_eps = fields.Number("rms_norm_eps", 1e-6);
  config.rope = ReadRope(fields);
  config.tied_embeddings = fields.Bool("tie_word_embeddings", false);
  config.bos_id = static_cast<int32_t>(fields.FindInt("bos_token_id").value_or(-1));
  if (const Json* eos = fields.Find("eos_token_id")) {
    for (const Json& id : eos->is_array() ? *eos : Json::array({*eos})) {
      if (!id.is_number_integer()) fields.Wrong("eos_token_id", "an integer or a list", *eos);
      config.eos_ids.push_back(id.get<int32_t>());
    }
  }
  config.stored_dtype = ReadDType(fields);

  const int64_t n_layers = fields.Int("num_hidden_layers");
  if (n_layers < 1 || n_layers > 4096)
    throw Error(fmt::format("{}: num_hidden_layers is {}, expected 1 to 4096", where, n_layers));
  if (const Json* blocks = fields.Find("block_configs")) {
    if (!blocks->is_array() || static_cast<int64_t>(blocks->size()) != n_layers)
      throw Error(fmt::format("{}: block_configs: expected a list of num_hidden_layers = {} blocks",
                              where, n_layers));
    for (size_t i = 0; i < blocks->size(); ++i) {
      const Fields block((*blocks)[i], fmt::format("{}: block_configs[{}]", where, i));
      const Json* attention = block.Find("attention");
      const Json* ffn = block.Find("ffn");
      if (attention == nullptr || ffn == nullptr)
        throw Error(block.where() + ": needs attention and ffn");
      config.blocks.push_back(
          {ReadAttention(Fields(*attention, block.where() + ": attention"), config.n_heads),
           ReadFfn(Fields(*ffn, block.where() + ": ffn"), config.hidden_size)});
    }
  } else {
    const BlockSpec block{
        {SubBlockForm::kFull, fields.FindInt("num_key_value_heads").value_or(config.n_heads)},
        {SubBlockForm::kFull, fields.Int("intermediate_size")}};
    config.blocks.assign(static_cast<size_t>(n_layers), block);
  }
  CheckModelConfig(config, where);
  return config;
}

Json ToHfJson(const ModelConfig& config) {
  const bool uniform = config.uniform();
  Json json;
  json["architectures"] = {uniform ? "LlamaForCausalLM" : "DeciLMForCausalLM"};
  json["model_type"] = uniform ? "llama" : "nemotron-nas";
  if (!uniform) json["auto_map"] = {{"AutoConfig", "configuration_decilm.DeciLMConfig"}};
  json["hidden_size"] = config.hidden_size;
  json["num_hidden_layers"] = config.n_layers();
  json["num_attention_heads"] = config.n_heads;
  json["head_dim"] = config.head_dim;
  json["intermediate_size"] = uniform ? Json(config.blocks.front().ffn.size) : Json(nullptr);
  json["num_key_value_heads"] =
      uniform ? Json(config.blocks.front().attention.n_kv_heads) : Json(nullptr);
  json["hidden_act"] = "silu";
  json["rms_norm_eps"] = config.rms_norm_eps;
  json["vocab_size"] = config.vocab_size;
  json["max_position_embeddings"] = config.max_positions;
  json["attention_bias"] = false;
  json["mlp_bias"] = false;
  json["tie_word_embeddings"] = config.tied_embeddings;
  json["torch_dtype"] = HfDType(config.stored_dtype);
  json["rope_theta"] = config.rope.theta;
  json["rope_scaling"] = RopeScalingJson(config.rope);
  json["bos_token_id"] = config.bos_id >= 0 ? Json(config.bos_id) : Json(nullptr);
  json["eos_token_id"] = config.eos_ids.empty()       ? Json(nullptr)
                         : config.eos_ids.size() == 1 ? Json(config.eos_ids.front())
                                                      : Json(config.eos_ids);
  json["initializer_range"] = 0.02;
  json["use_cache"] = true;
  if (uniform) return json;
  bool as_mult = true;
  for (const BlockSpec& block : config.blocks)
    if (block.ffn.form == SubBlockForm::kFull && block.ffn.size % 256 != 0) as_mult = false;
  for (const BlockSpec& block : config.blocks)
    json["block_configs"].push_back(BlockJson(block, config, as_mult));
  return json;
}

}  // namespace puzzle
