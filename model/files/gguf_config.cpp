#include "model/files/gguf_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "io/error.h"
#include "model/families/family.h"
#include "model/files/gguf_keys.h"
#include "model/files/gguf_rope.h"
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
    {"llama", "llama"}, {"deci", "llama"}, {"qwen2", "qwen2"},   {"qwen3", "qwen3"},
    {"gpt2", "gpt2"},   {"phi3", "phi3"},  {"gemma2", "gemma2"}, {"gemma3", "gemma3_text"},
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

void RefuseUnsupported(const GgufKeys& keys, const GgufArchitecture& architecture) {
  if (keys.FindInt("expert_count").value_or(0) != 0)
    keys.Fail("expert_count", "a mixture of experts is not supported");
  for (const char* key : {"attention.max_alibi_bias", "attention.clamp_kqv", "logit_scale",
                          "residual_scale", "embedding_scale", "attention.scale"})
    if (keys.FindNumber(key).value_or(0.0) != 0.0)
      keys.Fail(key, fmt::format("is not supported in {}", architecture.name));
  const bool has_windows =
      architecture.family == "phi3" || architecture.family.starts_with("gemma");
  if (!has_windows && keys.FindInt("attention.sliding_window").value_or(0) != 0)
    keys.Fail("attention.sliding_window", fmt::format("is not supported in {}", architecture.name));
}

/// Nothing where there is no such token, for which llama.cpp writes 2^32 - 1.
std::optional<int64_t> FindTokenId(const GgufReader& reader, const char* key) {
  const auto id = reader.FindInt(key);
  return id && *id != UINT32_MAX ? id : std::nullopt;
}

Json TokenIds(const GgufReader& reader) {
  Json ids = Json::array();
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                          "tokenizer.ggml.eom_token_id"})
    if (const auto id = FindTokenId(reader, key))
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
Json BlockConfigs(const GgufKeys& keys, const std::vector<int64_t>& heads,
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

void AddBlocks(const GgufKeys& keys, const Family& family, int64_t layers, Json& json) {
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

/// Which of Gemma's layers see all positions: every second (Gemma 2) or sixth, or as the file says.
/// llama.cpp takes a Gemma 3 without a window for one whose layers all do.
Json GemmaLayerTypes(const GgufKeys& keys, bool is_gemma2, int64_t layers, int64_t window) {
  constexpr const char* kPattern = "attention.sliding_window_pattern";
  std::vector<int64_t> has_window;
  if (keys.IsList(kPattern)) {
    has_window = keys.PerLayer(kPattern, layers, {});
  } else {
    const int64_t pattern = keys.FindInt(kPattern).value_or(is_gemma2 ? 2 : 6);
    if (pattern < 1) keys.Fail(kPattern, "expected a positive number");
    for (int64_t i = 1; i <= layers; ++i) has_window.push_back(i % pattern != 0 ? 1 : 0);
  }
  Json types = Json::array();
  for (const int64_t has : has_window)
    types.push_back(has != 0 && window > 0 ? "sliding_attention" : "full_attention");
  return types;
}

/// What llama.cpp knows of Gemma without being told, and what the file says of it.
void AddGemma(const GgufKeys& keys, std::string_view family, int64_t layers, Json& json) {
  const bool is_gemma2 = family == "gemma2";
  constexpr int64_t kGemma2Window = 4096;
  const int64_t window =
      keys.FindInt("attention.sliding_window").value_or(is_gemma2 ? kGemma2Window : 0);
  if (window < 0) keys.Fail("attention.sliding_window", "expected a positive number");
  json["sliding_window"] = window > 0 ? window : kGemma2Window;
  json["layer_types"] = GemmaLayerTypes(keys, is_gemma2, layers, window);
  // The largest models divide scores by the root of another number.
  const bool is_largest = layers == (is_gemma2 ? 46 : 62);
  json["query_pre_attn_scalar"] =
      is_largest ? json["hidden_size"].get<int64_t>() / json["num_attention_heads"].get<int64_t>()
                 : json["head_dim"].get<int64_t>();
  const auto cap = [&](const char* key, double usual) {
    const double value = keys.FindNumber(key).value_or(is_gemma2 ? usual : 0.0);
    return value > 0 ? Json(value) : Json(nullptr);
  };
  json["attn_logit_softcapping"] = cap("attn_logit_softcapping", 50.0);
  json["final_logit_softcapping"] = cap("final_logit_softcapping", 30.0);
  json["rope_local_base_freq"] = keys.FindNumber("rope.freq_base_swa").value_or(10000.0);
}

}  // namespace

ModelConfig ReadGgufConfig(const GgufReader& reader) {
  const GgufArchitecture& architecture = FindArchitecture(reader);
  const Family& family = *FindFamily(architecture.family);
  const Family::Fields& names = family.fields;
  const GgufKeys keys(reader, architecture.name);
  RefuseUnsupported(keys, architecture);
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
    ReadGgufRope(keys, head_dim, /*may_be_partial=*/architecture.family == "phi3", json);
  if (architecture.family.starts_with("gemma")) AddGemma(keys, architecture.family, layers, json);
  if (architecture.family == "phi3")
    if (const auto window = keys.FindInt("attention.sliding_window"); window && *window > 0)
      json["sliding_window"] = *window;
  if (architecture.family == "llama" || architecture.family == "qwen3")
    json["attention_bias"] = HasInSomeLayer(reader, layers, "attn_q.bias");
  if (architecture.family == "llama")
    json["mlp_bias"] = HasInSomeLayer(reader, layers, "ffn_up.bias");
  json["tie_word_embeddings"] = !reader.Has(kHead) || reader.SameBytes(kHead, kEmbedding);
  json["bos_token_id"] = nullptr;
  if (const auto bos = FindTokenId(reader, "tokenizer.ggml.bos_token_id"))
    json["bos_token_id"] = *bos;
  json["eos_token_id"] = TokenIds(reader);
  json["torch_dtype"] = TypeOfWeights(reader);
  return ModelConfigFromJson(json, reader.path());
}

int64_t CountGgufLayers(const GgufReader& reader) {
  const auto name = reader.FindText("general.architecture");
  if (!name) throw Error(reader.path() + ": general.architecture: missing");
  return GgufKeys(reader, *name).Int("block_count");
}

}  // namespace puzzle
