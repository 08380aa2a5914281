// Gemma 2 and the text models of Gemma 3: norms before and behind the sub-blocks, each times 1 +
// its weight; embeddings scaled by the root of the width; tanh GELU in the gate; windows in most
// layers. Gemma 2 caps scores and logits; Gemma 3 has norms of the heads of q and k, and another
// rotation where there is a window.
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "model/families/families.h"
#include "model/families/rope_fields.h"

namespace puzzle {

namespace {

using A = Architecture;
using Json = Family::Json;

constexpr Renaming kGemmaNames[] = {
    {"self_attn.post_norm", "post_attention_layernorm"},
    {"post_attention_layernorm", "pre_feedforward_layernorm"},
    {"mlp.post_norm", "post_feedforward_layernorm"},
};
constexpr std::string_view kGemmaIgnored[] = {".rotary_emb.inv_freq"};
constexpr int64_t kGemma2Window = 4096, kGemma3Window = 4096, kGemma3Pattern = 6;
constexpr int64_t kQueryScalar = 256;
constexpr double kGlobalTheta = 1e6, kLocalTheta = 1e4;

// Every `pattern`-th layer sees everything.
std::vector<int64_t> AllButEvery(int64_t window, int64_t pattern, size_t n_layers) {
  std::vector<int64_t> windows(n_layers, 0);
  for (size_t i = 0; i < n_layers; ++i)
    if ((static_cast<int64_t>(i) + 1) % pattern != 0) windows[i] = window;
  return windows;
}

std::vector<int64_t> Gemma2Windows(const HfFields& fields, size_t n_layers) {
  return AllButEvery(fields.FindInt("sliding_window").value_or(kGemma2Window), 2, n_layers);
}

std::vector<int64_t> Gemma3Windows(const HfFields& fields, size_t n_layers) {
  const int64_t pattern = fields.FindInt("sliding_window_pattern").value_or(kGemma3Pattern);
  if (pattern < 1) fields.Wrong("sliding_window_pattern", "a positive number", pattern);
  return AllButEvery(fields.FindInt("sliding_window").value_or(kGemma3Window), pattern, n_layers);
}

void RefuseGemma(const HfFields& fields) {
  fields.RequireBool("use_bidirectional_attention", false);
}

// `cap`: where the file does not say one.
void ReadGemma(const HfFields& fields, double cap_of_scores, double cap_of_logits,
               ModelConfig& config) {
  const auto cap = [&](const char* name, double usual) {
    return fields.Has(name) ? fields.Number(name, 0) : usual;  // null: none
  };
  config.arch.qkv_bias = config.arch.o_bias = fields.Bool("attention_bias", false);
  config.arch.query_scalar =
      static_cast<double>(fields.FindInt("query_pre_attn_scalar").value_or(kQueryScalar));
  config.arch.attention_cap = cap("attn_logit_softcapping", cap_of_scores);
  config.arch.logit_cap = cap("final_logit_softcapping", cap_of_logits);
  if (config.arch.logit_cap > 0)
    throw Error(fmt::format("{}: final_logit_softcapping: {} is not supported (null is)",
                            fields.where(), config.arch.logit_cap));
  config.arch.embedding_scale = std::sqrt(static_cast<double>(config.hidden_size));
}

void WriteGemma(const ModelConfig& config, Json& json) {
  const auto cap = [](double value) { return value > 0 ? Json(value) : Json(nullptr); };
  const bool is_gelu = config.arch.activation == A::Activation::kGeluTanh;
  if (is_gelu) json["hidden_activation"] = "gelu_pytorch_tanh";
  json["hidden_act"] = json["hidden_activation"];  // what old readers look at
  json["attention_bias"] = config.arch.qkv_bias;
  json["query_pre_attn_scalar"] = static_cast<int64_t>(config.arch.query_scalar);
  json["attn_logit_softcapping"] = cap(config.arch.attention_cap);
  json["final_logit_softcapping"] = cap(config.arch.logit_cap);
  const int64_t window = LargestWindow(config);
  json["sliding_window"] = window > 0 ? window : kGemma2Window;
  json["layer_types"] = Json::array();
  for (const BlockSpec& block : config.blocks)
    json["layer_types"].push_back(block.attention.window > 0 ? "sliding_attention"
                                                             : "full_attention");
}

void ReadGemma2(const HfFields& fields, ModelConfig& config) {
  ReadGemma(fields, 50.0, 30.0, config);
}

// transformers 5 has a rotation per type of layer, earlier versions a base frequency more.
void ReadGemma3(const HfFields& fields, ModelConfig& config) {
  ReadGemma(fields, 0, 0, config);
  const Json none = Json::object();
  const auto part = [&](const HfFields& of, const char* name) {
    const Json* found = of.Find(name);
    return HfFields(found != nullptr ? *found : none, of.where() + ": " + name);
  };
  const HfFields parameters = part(fields, "rope_parameters");
  const HfFields scaling = part(fields, "rope_scaling");
  const HfFields full = part(parameters, "full_attention");
  const bool scaled = scaling.Find("rope_type") != nullptr || scaling.Find("type") != nullptr;
  config.rope =
      ReadRopeObject(fields, scaled ? scaling : full,
                     full.Number("rope_theta", fields.Number("rope_theta", kGlobalTheta)), config);
  config.window_rope = ReadRopeObject(fields, part(parameters, "sliding_attention"),
                                      fields.Number("rope_local_base_freq", kLocalTheta), config);
  if (config.window_rope->type != RopeConfig::Type::kPlain)
    throw Error(fields.where() +
                ": rope_parameters: a scaling of sliding_attention is not supported");
}

void WriteGemma3(const ModelConfig& config, Json& json) {
  WriteGemma(config, json);
  json["rope_local_base_freq"] = config.window_rope->theta;
}

constexpr Family Gemma(std::string_view model_type, std::string_view architecture) {
  return {
      .model_type = model_type,
      .architecture = architecture,
      .fields = {.activation = "hidden_activation",
                 .default_positions = 8192,
                 .default_head_dim = 256,
                 .default_activation = "gelu_pytorch_tanh",
                 .default_tied = true},
      .arch = {.activation = A::Activation::kGeluTanh, .norms_add_one = true, .post_norms = true},
      .base_prefix = "model.",
      .names = kGemmaNames,
      .ignored = kGemmaIgnored,
      .refuse = RefuseGemma};
}

constexpr Family Gemma2() {
  Family family = Gemma("gemma2", "Gemma2ForCausalLM");
  family.read = ReadGemma2;
  family.windows = Gemma2Windows;
  family.write = WriteGemma;
  return family;
}

constexpr Family Gemma3() {
  Family family = Gemma("gemma3_text", "Gemma3ForCausalLM");
  family.fields.default_positions = 131072;
  family.arch.qk_norm = true;
  family.read = ReadGemma3;
  family.windows = Gemma3Windows;
  family.write = WriteGemma3;
  return family;
}

}  // namespace

constinit const Family kGemma2 = Gemma2();
constinit const Family kGemma3 = Gemma3();

}  // namespace puzzle
