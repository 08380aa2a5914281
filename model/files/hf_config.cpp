#include "model/files/hf_config.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "io/error.h"
#include "io/json_text.h"
#include "model/families/family.h"
#include "model/families/hf_fields.h"
#include "model/families/rope_fields.h"
#include "model/files/stored_heads.h"

namespace puzzle {

namespace {
using Json = nlohmann::ordered_json;

DType ReadDType(const HfFields& fields) {
  const std::string name = fields.Text("dtype", fields.Text("torch_dtype", "float32").c_str());
  if (name == "float32") return DType::kF32;
  if (name == "float16") return DType::kF16;
  if (name == "bfloat16") return DType::kBF16;
  throw Error(fmt::format("{}: torch_dtype \"{}\" is not supported (float32, float16, bfloat16)",
                          fields.where(), name));
}

SubBlockForm ReadForm(const HfFields& fields) {
  const bool none = fields.Bool("no_op", false);
  const bool linear = fields.Bool("replace_with_linear", false);
  if (none && linear)
    throw Error(fields.where() + ": no_op and replace_with_linear exclude each other");
  return none ? SubBlockForm::kNone : linear ? SubBlockForm::kLinear : SubBlockForm::kFull;
}

AttentionSpec ReadAttention(const HfFields& fields, int64_t n_heads, int64_t window) {
  AttentionSpec spec{ReadForm(fields), 0, 0};
  for (const char* name : {"sparsify", "num_sink_tokens"})
    if (fields.Find(name) != nullptr)
      throw Error(fmt::format("{}: {} is not supported", fields.where(), name));
  if (!spec.is_full()) return spec;
  // Where results of earlier versions have what is now in `unpadded_heads`.
  spec.n_query_heads = fields.FindInt("num_attention_heads").value_or(0);
  spec.window = fields.Has("window_length") ? fields.FindInt("window_length").value_or(0) : window;
  if (const auto kv = fields.FindInt("num_key_value_heads")) {
    spec.n_kv_heads = *kv;
    return spec;
  }
  if (spec.n_query_heads != 0) n_heads = spec.n_query_heads;
  const int64_t group = fields.Int("n_heads_in_group");
  if (group < 1 || n_heads % group != 0)
    throw Error(fmt::format("{}: n_heads_in_group {} does not divide {} attention heads",
                            fields.where(), group, n_heads));
  spec.n_kv_heads = n_heads / group;
  return spec;
}

FfnSpec ReadFfn(const HfFields& fields, int64_t hidden) {
  FfnSpec spec{ReadForm(fields), 0};
  if (!spec.is_full()) return spec;
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

const Family& ReadFamily(const HfFields& fields) {
  const std::string type = fields.Text("model_type", "llama");
  // Where blocks differ; block_configs says the rest.
  const Family* family = FindFamily(type == "nemotron-nas"     ? "llama"
                                    : type == kPuzzleModelType ? fields.Text("base_model_type", "")
                                                               : type);
  if (family == nullptr)
    throw Error(fmt::format("{}: model_type \"{}\" is not supported ({}, nemotron-nas)",
                            fields.where(), type, FamilyNames()));
  return *family;
}

// 8-bit floats with scales are read as what they stand for; the tensors say which scales they have.
void RefuseQuantisation(const HfFields& fields) {
  const Json* found = fields.Find("quantization_config");
  if (found == nullptr) return;
  const HfFields config(*found, fields.where() + ": quantization_config");
  const std::string method = config.Text("quant_method", "unknown");
  const bool is_fp8 =
      method == "fp8" ||
      (method == "compressed-tensors" && config.Text("format", "") == "float-quantized") ||
      (method == "modelopt" && config.Text("quant_algo", "") == "FP8");
  if (!is_fp8)
    throw Error(
        fmt::format("{}: quantised checkpoints are not supported (quant_method \"{}\"), "
                    "except for fp8: export the model in bfloat16",
                    config.where(), method));
}

Architecture::Activation ReadActivation(const HfFields& fields, const Family::Fields& names) {
  using Activation = Architecture::Activation;
  const std::string name = fields.Text(names.activation, names.default_activation);
  if (name == "silu" || name == "swish") return Activation::kSilu;
  if (name == "gelu") return Activation::kGelu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh") return Activation::kGeluTanh;
  if (name == "relu") return Activation::kRelu;
  throw Error(
      fmt::format("{}: {} \"{}\" is not supported (silu, gelu, gelu_new, gelu_pytorch_tanh, relu)",
                  fields.where(), names.activation, name));
}

// As transformers says windows since version 4.53.
void ReadLayerTypes(const HfFields& fields, std::vector<int64_t>& windows) {
  const Json& types = *fields.Find("layer_types");
  if (!types.is_array() || types.size() != windows.size())
    fields.Wrong("layer_types", "a list with an entry per layer", types);
  for (size_t i = 0; i < windows.size(); ++i) {
    if (types[i] == "sliding_attention") {
      windows[i] = fields.Int("sliding_window");
    } else if (types[i] != "full_attention") {
      fields.Wrong("layer_types", "full_attention or sliding_attention", types[i]);
    }
  }
}

// How far the queries of each layer see; 0: all.
std::vector<int64_t> ReadWindows(const HfFields& fields, const Family& family, size_t n_layers) {
  std::vector<int64_t> windows(n_layers, 0);
  if (family.windows == nullptr) return windows;  // whatever is left over of another model's config
  if (fields.Find("layer_types") == nullptr) return family.windows(fields, n_layers);
  ReadLayerTypes(fields, windows);
  return windows;
}

int32_t TokenId(const HfFields& fields, const char* name, const Json& value) {
  const bool fits = value.is_number_integer() && value >= INT32_MIN && value <= INT32_MAX;
  if (!fits) fields.Wrong(name, "a token id", value);
  return value.get<int32_t>();
}

int32_t ReadTokenId(const HfFields& fields, const char* name) {
  const Json* value = fields.Find(name);
  return value == nullptr ? -1 : TokenId(fields, name, *value);
}

void ReadTokenIds(const HfFields& fields, ModelConfig& config) {
  config.bos_id = ReadTokenId(fields, "bos_token_id");
  config.pad_id = ReadTokenId(fields, "pad_token_id");
  config.eos_ids = ReadEosIds(fields);
}

int64_t ReadLayerCount(const HfFields& fields, const Family& family) {
  const int64_t n_layers = fields.Int(family.fields.layers);
  if (n_layers < 1 || n_layers > 4096)
    throw Error(fmt::format("{}: {} is {}, expected 1 to 4096", fields.where(),
                            family.fields.layers, n_layers));
  return n_layers;
}

void ReadBlocks(const HfFields& fields, const Family& family, ModelConfig& config) {
  const int64_t n_layers = ReadLayerCount(fields, family);
  const std::vector<int64_t> windows = ReadWindows(fields, family, static_cast<size_t>(n_layers));
  const Json* blocks = fields.Find("block_configs");
  if (blocks == nullptr) {
    const auto size = fields.FindInt(family.fields.ffn);
    const int64_t ffn = !size && family.fields.ffn_defaults_to_4x_hidden
                            ? 4 * config.hidden_size
                            : fields.Int(family.fields.ffn);
    const char* kv = family.fields.kv_heads;
    const int64_t kv_heads =
        kv != nullptr ? fields.FindInt(kv).value_or(config.n_heads) : config.n_heads;
    for (int64_t window : windows)
      config.blocks.push_back(
          {{SubBlockForm::kFull, kv_heads, window}, {SubBlockForm::kFull, ffn}});
    return;
  }
  if (!blocks->is_array() || static_cast<int64_t>(blocks->size()) != n_layers)
    throw Error(fmt::format("{}: block_configs: expected a list of {} = {} blocks", fields.where(),
                            family.fields.layers, n_layers));
  for (size_t i = 0; i < blocks->size(); ++i) {
    const HfFields block((*blocks)[i], fmt::format("{}: block_configs[{}]", fields.where(), i));
    const Json* attention = block.Find("attention");
    const Json* ffn = block.Find("ffn");
    if (attention == nullptr || ffn == nullptr)
      throw Error(block.where() + ": needs attention and ffn");
    config.blocks.push_back({ReadAttention(HfFields(*attention, block.where() + ": attention"),
                                           config.n_heads, windows[i]),
                             ReadFfn(HfFields(*ffn, block.where() + ": ffn"), config.hidden_size)});
  }
}

// `path` is the file, or the folder that holds it.
JsonText ParseConfig(const std::string& path) {
  std::filesystem::path file(path);
  if (std::filesystem::is_directory(file)) file /= "config.json";
  return ParseHfJson(file.string());
}

}  // namespace

JsonText ParseHfJson(const std::string& path) {
  return JsonText::ParseFile(path, {.allow_nonfinite = true});
}

std::vector<int32_t> ReadEosIds(const HfFields& fields) {
  constexpr const char* kName = "eos_token_id";
  std::vector<int32_t> ids;
  const Json* eos = fields.Find(kName);
  if (eos == nullptr) return ids;
  for (const Json& id : eos->is_array() ? *eos : Json::array({*eos}))
    ids.push_back(TokenId(fields, kName, id));
  return ids;
}

bool SaysDType(const Json& config) {
  const HfFields fields(config, "config");
  return fields.Find("dtype") != nullptr || fields.Find("torch_dtype") != nullptr;
}

int64_t ReadHfLayerCount(const std::string& path) {
  const JsonText text = ParseConfig(path);
  const HfFields fields(text.value(), text.source());
  return ReadLayerCount(fields, ReadFamily(fields));
}

ModelConfig ModelConfigFromJson(const Json& json, const std::string& where) {
  const HfFields fields(json, where);
  const Family& family = ReadFamily(fields);
  const Family::Fields& names = family.fields;
  RefuseQuantisation(fields);
  if (family.refuse != nullptr) family.refuse(fields);
  ModelConfig config;
  config.family = family.model_type;
  config.arch = family.arch;
  config.arch.activation = ReadActivation(fields, names);
  config.vocab_size = fields.Int("vocab_size");
  config.hidden_size = fields.Int(names.hidden);
  config.n_heads = fields.Int(names.heads);
  if (config.n_heads < 1) throw Error(fmt::format("{}: {} must be positive", where, names.heads));
  const int64_t head_dim =
      names.default_head_dim > 0 ? names.default_head_dim : config.hidden_size / config.n_heads;
  config.head_dim =
      names.kv_heads != nullptr ? fields.FindInt("head_dim").value_or(head_dim) : head_dim;
  if (names.kv_heads == nullptr && config.hidden_size % config.n_heads != 0)
    throw Error(fmt::format("{}: {} {} is no multiple of {} heads", where, names.hidden,
                            config.hidden_size, config.n_heads));
  config.max_positions = fields.FindInt(names.positions).value_or(names.default_positions);
  config.norm_eps = names.norm_eps != nullptr
                        ? fields.Number(names.norm_eps, names.default_norm_eps)
                        : names.default_norm_eps;
  if (config.arch.positions == Architecture::Positions::kRotary)
    config.rope = ReadRope(fields, config);
  if (family.read != nullptr) family.read(fields, config);
  config.tied_embeddings = fields.Bool("tie_word_embeddings", names.default_tied);
  ReadTokenIds(fields, config);
  config.stored_dtype = ReadDType(fields);
  ReadBlocks(fields, family, config);
  ReadUnpaddedHeads(fields, config);
  CheckModelConfig(config, where);
  return config;
}

}  // namespace puzzle
