// GPT-2: learned positions, layer norms, projections stored [in, out], q, k and v as one.
#include <nlohmann/json.hpp>

#include "model/families/families.h"

namespace puzzle {

namespace {

using A = Architecture;

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

void RefuseGpt2(const HfFields& fields) {
  fields.RequireBool("scale_attn_by_inverse_layer_idx", false);
  fields.RequireBool("add_cross_attention", false);
}

void ReadGpt2(const HfFields& fields, ModelConfig& config) {
  config.arch.scaled_attention = fields.Bool("scale_attn_weights", true);
}

void WriteGpt2(const ModelConfig& config, Family::Json& json) {
  json["scale_attn_weights"] = config.arch.scaled_attention;
}

}  // namespace

constinit const Family kGpt2 = {.model_type = "gpt2",
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
                                .arch = {.norm = A::Norm::kLayer,
                                         .positions = A::Positions::kLearned,
                                         .activation = A::Activation::kGeluTanh,
                                         .gated_ffn = false,
                                         .qkv_bias = true,
                                         .o_bias = true,
                                         .ffn_bias = true},
                                .base_prefix = "transformer.",
                                .names = kGpt2Names,
                                .conv1d = true,
                                .ignored = kGpt2Ignored,
                                .refuse = RefuseGpt2,
                                .read = ReadGpt2,
                                .write = WriteGpt2};

}  // namespace puzzle
