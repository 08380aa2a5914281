#include "model/files/gguf_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>
#include <vector>

#include "io/error.h"
#include "model/families/family.h"
#include "model/files/hf_config.h"

namespace puzzle {

namespace {
using Json = nlohmann::ordered_json;

constexpr const char* kEmbedding = "token_embd.weight";
constexpr const char* kHead = "output.weight";

struct GgufArchitecture {
  std::string_view name;    // general.architecture
  std::string_view family;  // model_type
};

constexpr GgufArchitecture kArchitectures[] = {
    {"llama", "llama"}, {"deci", "llama"}, {"qwen2", "qwen2"}, {"qwen3", "qwen3"}, {"gpt2", "gpt2"},
};

const GgufArchitecture& FindArchitecture(const GgufReader& reader) {
  const auto name = reader.FindText("general.architecture");
  if (!name) throw Error(reader.path() + ": general.architecture: missing");
  std::string known;
  for (const GgufArchitecture& architecture : kArchitectures) {
    if (architecture.name == *name) return architecture;
    known += (known.empty() ? "" : ", ") + std::string(architecture.name);
  }
  throw Error(fmt::format("{}: general.architecture \"{}\" is not supported ({})", reader.path(),
                          *name, known));
}

/// The keys of one architecture, "llama.block_count" as "block_count".
class Keys {
 public:
  Keys(const GgufReader& reader, std::string_view prefix) : reader_(reader), prefix_(prefix) {}

  [[nodiscard]] std::string Name(const char* key) const { return prefix_ + "." + key; }
  [[nodiscard]] std::optional<int64_t> FindInt(const char* key) const {
    return reader_.FindInt(Name(key));
  }
  [[nodiscard]] int64_t Int(const char* key) const {
    const auto value = FindInt(key);
    if (!value) Fail(key, "missing");
    return *value;
  }
  [[nodiscard]] std::optional<double> FindNumber(const char* key) const {
    return reader_.FindNumber(Name(key));
  }
  [[nodiscard]] std::optional<std::string> FindText(const char* key) const {
    return reader_.FindText(Name(key));
  }
  [[noreturn]] void Fail(const char* key, const std::string& what) const {
    throw Error(fmt::format("{}: {}: {}", reader_.path(), Name(key), what));
  }

  /// One number per layer, or one for all of them; `otherwise` when the key is absent.
  [[nodiscard]] std::vector<int64_t> PerLayer(const char* key, int64_t layers,
                                              const std::vector<int64_t>& otherwise) const {
    const auto found = reader_.metadata().find(Name(key));
    if (found == reader_.metadata().end()) {
      if (otherwise.empty()) Fail(key, "missing");
      return otherwise;
    }
    if (!std::holds_alternative<std::vector<int64_t>>(found->second))
      return std::vector<int64_t>(static_cast<size_t>(layers), Int(key));
    const std::vector<int64_t>& values = *reader_.FindInts(Name(key));
    if (static_cast<int64_t>(values.size()) != layers)
      Fail(key, fmt::format("has {} numbers for {} layers", values.size(), layers));
    return values;
  }

 private:
  const GgufReader& reader_;
  std::string prefix_;
};

/// Llama 3's scaling comes as a tensor of factors. What they were made from is found by trying: all
/// published models have frequency factors 1 and 4 and a power of two as the first context.
Json Llama3Scaling(const GgufReader& reader, double theta, int64_t head_dim) {
  const Shape shape = {head_dim / 2};
  if (reader.ShapeOf(kGgufRopeFactors) != shape)
    throw Error(fmt::format("{}: tensor {} has shape {}, the metadata implies {}", reader.path(),
                            kGgufRopeFactors, ShapeString(reader.ShapeOf(kGgufRopeFactors)),
                            ShapeString(shape)));
  std::vector<float> factors(static_cast<size_t>(head_dim / 2));
  reader.ReadF32(kGgufRopeFactors, factors);
  RopeConfig rope;
  rope.type = RopeConfig::Type::kLlama3;
  rope.theta = theta;
  rope.factor = *std::max_element(factors.begin(), factors.end());
  for (int64_t context = 512; context <= 1 << 20; context *= 2) {
    rope.original_max_positions = context;
    const std::vector<float> tried = Llama3RopeFactors(rope, head_dim);
    const bool same = std::equal(tried.begin(), tried.end(), factors.begin(), [](float a, float b) {
      return std::abs(a - b) <= 1e-5F * std::abs(b);
    });
    if (same)
      return {{"rope_type", "llama3"},
              {"factor", rope.factor},
              {"low_freq_factor", rope.low_freq_factor},
              {"high_freq_factor", rope.high_freq_factor},
              {"original_max_position_embeddings", context}};
  }
  throw Error(
      fmt::format("{}: tensor {}: these factors are not those of Llama 3's rope scaling; "
                  "others are not supported",
                  reader.path(), kGgufRopeFactors));
}

void AddRope(const GgufReader& reader, const Keys& keys, int64_t head_dim, Json& json) {
  if (const auto rotated = keys.FindInt("rope.dimension_count"); rotated && *rotated != head_dim)
    keys.Fail("rope.dimension_count",
              fmt::format("{} of {} dimensions of a head: a partial rotation is not supported",
                          *rotated, head_dim));
  const double theta = keys.FindNumber("rope.freq_base").value_or(10000.0);
  json["rope_theta"] = theta;
  const std::string type = keys.FindText("rope.scaling.type").value_or("none");
  const auto old_factor = keys.FindNumber("rope.scale_linear");  // before the type was there
  const double factor = keys.FindNumber("rope.scaling.factor").value_or(old_factor.value_or(1.0));
  const bool scales = factor != 0.0 && factor != 1.0;
  if (type == "linear" || (type == "none" && old_factor && scales)) {
    if (scales) json["rope_scaling"] = {{"rope_type", "linear"}, {"factor", factor}};
  } else if (type != "none") {
    keys.Fail("rope.scaling.type", fmt::format("\"{}\" is not supported (none, linear)", type));
  }
  if (!reader.Has(kGgufRopeFactors)) return;
  if (json.contains("rope_scaling"))
    throw Error(fmt::format("{}: has both {} and {}", reader.path(), keys.Name("rope.scaling.type"),
                            kGgufRopeFactors));
  json["rope_scaling"] = Llama3Scaling(reader, theta, head_dim);
}

void RefuseUnsupported(const Keys& keys, std::string_view architecture) {
  if (keys.FindInt("expert_count").value_or(0) != 0)
    keys.Fail("expert_count", "a mixture of experts is not supported");
  for (const char* key : {"attention.max_alibi_bias", "attention.clamp_kqv", "logit_scale",
                          "residual_scale", "embedding_scale", "attention.scale"})
    if (keys.FindNumber(key).value_or(0.0) != 0.0)
      keys.Fail(key, fmt::format("is not supported in {}", architecture));
  if (keys.FindInt("attention.sliding_window").value_or(0) != 0)
    keys.Fail("attention.sliding_window", fmt::format("is not supported in {}", architecture));
}

Json TokenIds(const GgufReader& reader) {
  Json ids = Json::array();
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                          "tokenizer.ggml.eom_token_id"})
    if (const auto id = reader.FindInt(key))
      if (std::find(ids.begin(), ids.end(), Json(*id)) == ids.end()) ids.push_back(*id);
  return ids;
}

/// The type in which exports of the model are stored: that of its matrices, fp32 if they are
/// quantised, as their values are no numbers of a 16-bit type.
const char* TypeOfWeights(const GgufReader& reader) {
  const std::string_view type =
      reader.TypeOf(reader.Has("blk.0.ffn_up.weight") ? "blk.0.ffn_up.weight" : kEmbedding);
  return type == "F16" ? "float16" : type == "BF16" ? "bfloat16" : "float32";
}

/// The blocks of a model whose layers differ.
Json BlockConfigs(const Keys& keys, const std::vector<int64_t>& heads,
                  const std::vector<int64_t>& kv_heads, const std::vector<int64_t>& ffn) {
  Json blocks = Json::array();
  const int64_t most = *std::max_element(heads.begin(), heads.end());
  for (size_t i = 0; i < heads.size(); ++i) {
    const bool none = heads[i] == 0;
    const bool linear = !none && kv_heads[i] == 0;
    if (ffn[i] == 0 && !none)
      keys.Fail("feed_forward_length",
                fmt::format("layer {} has attention and no FFN: llama.cpp leaves out its "
                            "attention, so what is meant is not clear",
                            i));
    Json attention = {{"no_op", none}, {"replace_with_linear", linear}};
    if (!none && !linear) {
      if (heads[i] != most) attention["num_attention_heads"] = heads[i];
      attention["num_key_value_heads"] = kv_heads[i];
    }
    Json feed_forward = {{"no_op", ffn[i] == 0}};
    if (ffn[i] != 0) feed_forward["intermediate_size"] = ffn[i];
    blocks.push_back({{"attention", attention}, {"ffn", feed_forward}});
  }
  return blocks;
}

bool AllEqual(const std::vector<int64_t>& values) {
  return std::adjacent_find(values.begin(), values.end(), std::not_equal_to<>()) == values.end();
}

void AddBlocks(const Keys& keys, const Family& family, int64_t layers, Json& json) {
  if (layers < 1 || layers > 4096) keys.Fail("block_count", "expected 1 to 4096");
  const std::vector<int64_t> heads = keys.PerLayer("attention.head_count", layers, {});
  const std::vector<int64_t> kv_heads = keys.PerLayer("attention.head_count_kv", layers, heads);
  const std::vector<int64_t> ffn = keys.PerLayer("feed_forward_length", layers, {});
  const int64_t n_heads = *std::max_element(heads.begin(), heads.end());
  json[family.fields.layers] = layers;
  json[family.fields.heads] = n_heads;
  if (AllEqual(heads) && AllEqual(kv_heads) && AllEqual(ffn) && ffn[0] != 0 && kv_heads[0] != 0) {
    json[family.fields.ffn] = ffn[0];
    if (family.fields.kv_heads != nullptr) json[family.fields.kv_heads] = kv_heads[0];
    return;
  }
  json["block_configs"] = BlockConfigs(keys, heads, kv_heads, ffn);
}

/// Whether any layer has the tensor.
bool HasInSomeLayer(const GgufReader& reader, int64_t layers, const char* name) {
  for (int64_t layer = 0; layer < layers; ++layer)
    if (reader.Has(fmt::format("blk.{}.{}", layer, name))) return true;
  return false;
}

}  // namespace

ModelConfig ReadGgufConfig(const GgufReader& reader) {
  const GgufArchitecture& architecture = FindArchitecture(reader);
  const Family& family = *FindFamily(architecture.family);
  const Family::Fields& names = family.fields;
  const Keys keys(reader, architecture.name);
  RefuseUnsupported(keys, architecture.name);
  for (const char* name : {kEmbedding, "output_norm.weight"})
    if (!reader.Has(name))
      throw Error(fmt::format("{}: tensor {} is missing", reader.path(), name));
  Json json;
  json["model_type"] = architecture.family;
  json["vocab_size"] = reader.ShapeOf(kEmbedding).front();
  json[names.hidden] = keys.Int("embedding_length");
  json[names.positions] = keys.Int("context_length");
  const int64_t layers = keys.Int("block_count");
  AddBlocks(keys, family, layers, json);
  const int64_t n_heads = json[names.heads];
  if (n_heads < 1) keys.Fail("attention.head_count", "expected at least 1");
  const int64_t head_dim =
      keys.FindInt("attention.key_length").value_or(json[names.hidden].get<int64_t>() / n_heads);
  if (keys.FindInt("attention.value_length").value_or(head_dim) != head_dim)
    keys.Fail("attention.value_length", "differs from attention.key_length");
  if (head_dim < 2 || head_dim > 1 << 16) keys.Fail("attention.key_length", "expected 2 to 65536");
  if (names.kv_heads != nullptr) json["head_dim"] = head_dim;
  const bool rms = family.arch.norm == Architecture::Norm::kRms;
  const char* epsilon = rms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon";
  const auto eps = keys.FindNumber(epsilon);
  if (!eps) keys.Fail(epsilon, "missing");
  json[names.norm_eps] = *eps;
  if (family.arch.positions == Architecture::Positions::kRotary)
    AddRope(reader, keys, head_dim, json);
  if (architecture.family == "llama" || architecture.family == "qwen3")
    json["attention_bias"] = HasInSomeLayer(reader, layers, "attn_q.bias");
  if (architecture.family == "llama")
    json["mlp_bias"] = HasInSomeLayer(reader, layers, "ffn_up.bias");
  json["tie_word_embeddings"] = !reader.Has(kHead) || reader.SameBytes(kHead, kEmbedding);
  json["bos_token_id"] = nullptr;
  if (const auto bos = reader.FindInt("tokenizer.ggml.bos_token_id")) json["bos_token_id"] = *bos;
  json["eos_token_id"] = TokenIds(reader);
  json["torch_dtype"] = TypeOfWeights(reader);
  return ModelConfigFromJson(json, reader.path());
}

int64_t CountGgufLayers(const GgufReader& reader) {
  const auto name = reader.FindText("general.architecture");
  if (!name) throw Error(reader.path() + ": general.architecture: missing");
  return Keys(reader, *name).Int("block_count");
}

GgufPlace GgufPlaceOf(const ModelConfig& config, std::string_view name) {
  constexpr std::string_view kLayers = "model.layers.";
  const size_t dot = name.rfind('.');
  const std::string kind(name.substr(dot));  // ".weight", ".bias"
  std::string_view stem = name.substr(0, dot);
  const auto among = [&](std::initializer_list<Renaming> names) {
    for (const auto& [ours, theirs] : names)
      if (ours == stem) return std::string(theirs);
    PUZZLE_CHECK(false, "no place in a GGUF for " + std::string(name));
  };
  if (!stem.starts_with(kLayers))
    return {among({{"model.embed_tokens", "token_embd"},
                   {"model.embed_positions", "position_embd"},
                   {"model.norm", "output_norm"},
                   {"lm_head", "output"}}) +
            kind};
  stem.remove_prefix(kLayers.size());
  const std::string_view number = stem.substr(0, stem.find('.'));
  size_t layer = 0;
  std::from_chars(number.data(), number.data() + number.size(), layer);
  stem.remove_prefix(number.size() + 1);
  GgufPlace place;
  const bool stacked =
      config.family == "gpt2" && stem.starts_with("self_attn.") &&
      (stem.ends_with("q_proj") || stem.ends_with("k_proj") || stem.ends_with("v_proj"));
  if (stacked) {
    place.name = fmt::format("blk.{}.attn_qkv{}", layer, kind);
    place.part = stem == "self_attn.k_proj" ? 1 : stem == "self_attn.v_proj" ? 2 : 0;
    return place;
  }
  place.name = fmt::format("blk.{}.{}{}", layer,
                           among({{"input_layernorm", "attn_norm"},
                                  {"self_attn.q_proj", "attn_q"},
                                  {"self_attn.k_proj", "attn_k"},
                                  {"self_attn.v_proj", "attn_v"},
                                  {"self_attn.q_norm", "attn_q_norm"},
                                  {"self_attn.k_norm", "attn_k_norm"},
                                  {"self_attn.o_proj", "attn_output"},
                                  {"self_attn.linear_attn", "attn_output"},
                                  {"post_attention_layernorm", "ffn_norm"},
                                  {"mlp.gate_proj", "ffn_gate"},
                                  {"mlp.up_proj", "ffn_up"},
                                  {"mlp.down_proj", "ffn_down"}}),
                           kind);
  if (config.family == "llama") {
    const AttentionSpec& attention = config.blocks[layer].attention;
    if (stem == "self_attn.q_proj") place.rotated = QueryHeads(attention, config);
    if (stem == "self_attn.k_proj") place.rotated = attention.n_kv_heads;
  }
  return place;
}

std::vector<float> Llama3RopeFactors(const RopeConfig& rope, int64_t head_dim) {
  RopeConfig plain = rope;
  plain.type = RopeConfig::Type::kPlain;
  const std::vector<double> before = plain.InverseFrequencies(head_dim);
  const std::vector<double> after = rope.InverseFrequencies(head_dim);
  std::vector<float> factors;
  for (size_t i = 0; i < before.size(); ++i)
    factors.push_back(static_cast<float>(before[i] / after[i]));
  return factors;
}

bool IsInGgufConfig(std::string_view name) {
  return name == kGgufRopeFactors;
}

}  // namespace puzzle
