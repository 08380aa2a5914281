#include "model/families/family.h"

#include <algorithm>

#include "io/error.h"

namespace puzzle {

namespace {

using A = Architecture;

constexpr std::string_view kLlamaIgnored[] = {".rotary_emb.inv_freq"};

constexpr Renaming kGpt2Names[] = {
    {"model.embed_tokens", "transformer.wte"},
    {"model.embed_positions", "transformer.wpe"},
    {"model.layers", "transformer.h"},
    {"model.norm", "transformer.ln_f"},
    {"input_layernorm", "ln_1"},
    {"self_attn.q_proj", "attn.c_attn"},
    {"self_attn.k_proj", "attn.c_attn"},
    {"self_attn.v_proj", "attn.c_attn"},
    {"self_attn.o_proj", "attn.c_proj"},
    {"self_attn.linear_attn", "attn.linear_attn"},
    {"post_attention_layernorm", "ln_2"},
    {"mlp.up_proj", "mlp.c_fc"},
    {"mlp.down_proj", "mlp.c_proj"},
};
constexpr std::string_view kGpt2Ignored[] = {".attn.bias", ".attn.masked_bias"};

constexpr Renaming kGptNeoNames[] = {
    {"model.embed_tokens", "transformer.wte"},
    {"model.embed_positions", "transformer.wpe"},
    {"model.layers", "transformer.h"},
    {"model.norm", "transformer.ln_f"},
    {"input_layernorm", "ln_1"},
    {"self_attn.q_proj", "attn.attention.q_proj"},
    {"self_attn.k_proj", "attn.attention.k_proj"},
    {"self_attn.v_proj", "attn.attention.v_proj"},
    {"self_attn.o_proj", "attn.attention.out_proj"},
    {"self_attn.linear_attn", "attn.attention.linear_attn"},
    {"post_attention_layernorm", "ln_2"},
    {"mlp.up_proj", "mlp.c_fc"},
    {"mlp.down_proj", "mlp.c_proj"},
};
constexpr std::string_view kGptNeoIgnored[] = {".attn.attention.bias",
                                               ".attn.attention.masked_bias"};

constexpr Renaming kOptNames[] = {
    {"model.embed_tokens", "model.decoder.embed_tokens"},
    {"model.embed_positions", "model.decoder.embed_positions"},
    {"model.layers", "model.decoder.layers"},
    {"model.norm", "model.decoder.final_layer_norm"},
    {"input_layernorm", "self_attn_layer_norm"},
    {"self_attn.o_proj", "self_attn.out_proj"},
    {"post_attention_layernorm", "final_layer_norm"},
    {"mlp.up_proj", "fc1"},
    {"mlp.down_proj", "fc2"},
    {"mlp.linear_mlp", "linear_mlp"},
};

constexpr Architecture kGptArchitecture = {.norm = A::Norm::kLayer,
                                           .positions = A::Positions::kLearned,
                                           .activation = A::Activation::kGeluTanh,
                                           .gated_ffn = false,
                                           .o_bias = true,
                                           .ffn_bias = true};

constexpr Architecture Gpt2Architecture() {
  Architecture arch = kGptArchitecture;
  arch.qkv_bias = true;
  return arch;
}

constexpr Architecture GptNeoArchitecture() {
  Architecture arch = kGptArchitecture;
  arch.scaled_attention = false;
  return arch;
}

constexpr Architecture OptArchitecture() {
  Architecture arch = Gpt2Architecture();
  arch.position_offset = 2;
  arch.activation = A::Activation::kRelu;
  return arch;
}

constexpr Family kFamilies[] = {
    {.model_type = "llama",
     .architecture = "LlamaForCausalLM",
     .base_prefix = "model.",
     .ignored = kLlamaIgnored},
    {.model_type = "mistral",
     .architecture = "MistralForCausalLM",
     .base_prefix = "model.",
     .ignored = kLlamaIgnored},
    {.model_type = "qwen2",
     .architecture = "Qwen2ForCausalLM",
     .arch = {.qkv_bias = true},
     .base_prefix = "model.",
     .ignored = kLlamaIgnored},
    {.model_type = "qwen3",
     .architecture = "Qwen3ForCausalLM",
     .fields = {.default_head_dim = 128},
     .arch = {.qk_norm = true},
     .base_prefix = "model.",
     .ignored = kLlamaIgnored},
    {.model_type = "gpt2",
     .architecture = "GPT2LMHeadModel",
     .fields = {.hidden = "n_embd",
                .layers = "n_layer",
                .heads = "n_head",
                .positions = "n_positions",
                .ffn = "n_inner",
                .activation = "activation_function",
                .norm_eps = "layer_norm_epsilon",
                .kv_heads = nullptr,
                .default_norm_eps = 1e-5,
                .default_positions = 1024,
                .default_activation = "gelu_new",
                .default_tied = true,
                .ffn_defaults_to_4x_hidden = true},
     .arch = Gpt2Architecture(),
     .base_prefix = "transformer.",
     .names = kGpt2Names,
     .conv1d = true,
     .ignored = kGpt2Ignored},
    {.model_type = "gpt_neo",
     .architecture = "GPTNeoForCausalLM",
     .fields = {.layers = "num_layers",
                .heads = "num_heads",
                .activation = "activation_function",
                .norm_eps = "layer_norm_epsilon",
                .kv_heads = nullptr,
                .default_norm_eps = 1e-5,
                .default_activation = "gelu_new",
                .default_tied = true,
                .ffn_defaults_to_4x_hidden = true},
     .arch = GptNeoArchitecture(),
     .base_prefix = "transformer.",
     .names = kGptNeoNames,
     .ignored = kGptNeoIgnored},
    {.model_type = "opt",
     .architecture = "OPTForCausalLM",
     .fields = {.ffn = "ffn_dim",
                .activation = "activation_function",
                .norm_eps = nullptr,
                .kv_heads = nullptr,
                .default_norm_eps = 1e-5,
                .default_activation = "relu",
                .default_tied = true},
     .arch = OptArchitecture(),
     .base_prefix = "model.",
     .names = kOptNames},
};

std::string_view Renamed(const Family& family, std::string_view part) {
  for (const auto& [ours, theirs] : family.names)
    if (ours == part) return theirs;
  return part;
}

}  // namespace

const Family* FindFamily(std::string_view model_type) {
  const auto* found = std::find_if(std::begin(kFamilies), std::end(kFamilies),
                                   [&](const Family& f) { return f.model_type == model_type; });
  return found == std::end(kFamilies) ? nullptr : found;
}

const Family& FamilyOf(const ModelConfig& config) {
  const Family* family = FindFamily(config.family);
  PUZZLE_CHECK(family != nullptr, "unknown family " + config.family);
  return *family;
}

std::string FamilyNames() {
  std::string names;
  for (const Family& family : kFamilies)
    names += (names.empty() ? "" : ", ") + std::string(family.model_type);
  return names;
}

StoredTensor StoredAs(const Family& family, std::string_view name) {
  constexpr std::string_view kLayers = "model.layers";
  const size_t dot = name.rfind('.');
  const std::string_view kind = name.substr(dot);  // ".weight", ".bias"
  std::string_view stem = name.substr(0, dot);
  StoredTensor stored;
  if (stem.starts_with(kLayers)) {
    const size_t inner = stem.find('.', kLayers.size() + 1) + 1;
    stored.name = Renamed(family, kLayers);
    stored.name += stem.substr(kLayers.size(), inner - kLayers.size());
    stem.remove_prefix(inner);
  }
  stored.name += Renamed(family, stem);
  stored.name += kind;
  if (family.conv1d && stem.ends_with("_proj")) {
    stored.transposed = kind == ".weight";
    stored.part = stem == "self_attn.k_proj" ? 1 : stem == "self_attn.v_proj" ? 2 : 0;
  }
  return stored;
}

bool IsIgnored(const Family& family, std::string_view name) {
  return std::any_of(family.ignored.begin(), family.ignored.end(),
                     [&](std::string_view suffix) { return name.ends_with(suffix); });
}

}  // namespace puzzle
