// OPT: learned positions, two rows ahead; layer norms; ReLU.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "io/error.h"
#include "model/families/families.h"

namespace puzzle {

namespace {

using A = Architecture;

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

void RefuseOpt(const HfFields& fields) {
  fields.RequireBool("do_layer_norm_before", true);
  fields.RequireBool("layer_norm_elementwise_affine", true);
  fields.RequireBool("_remove_final_layer_norm", false);
  const int64_t hidden = fields.Int("hidden_size");
  if (const int64_t width = fields.FindInt("word_embed_proj_dim").value_or(hidden); width != hidden)
    throw Error(
        fmt::format("{}: word_embed_proj_dim: {} differs from hidden_size {}; projected embeddings "
                    "are not supported",
                    fields.where(), width, hidden));
}

void ReadOpt(const HfFields& fields, ModelConfig& config) {
  config.arch.qkv_bias = config.arch.o_bias = config.arch.ffn_bias =
      fields.Bool("enable_bias", true);
}

void WriteOpt(const ModelConfig& config, Family::Json& json) {
  json["enable_bias"] = config.arch.qkv_bias;
  json["do_layer_norm_before"] = true;
  json["word_embed_proj_dim"] = config.hidden_size;
}

}  // namespace

constinit const Family kOpt = {.model_type = "opt",
                               .architecture = "OPTForCausalLM",
                               .fields = {.ffn = "ffn_dim",
                                          .activation = "activation_function",
                                          .norm_eps = nullptr,
                                          .kv_heads = nullptr,
                                          .default_norm_eps = 1e-5,
                                          .default_activation = "relu",
                                          .default_tied = true},
                               .arch = {.norm = A::Norm::kLayer,
                                        .positions = A::Positions::kLearned,
                                        .position_offset = 2,
                                        .activation = A::Activation::kRelu,
                                        .gated_ffn = false,
                                        .qkv_bias = true,
                                        .o_bias = true,
                                        .ffn_bias = true},
                               .base_prefix = "model.",
                               .names = kOptNames,
                               .refuse = RefuseOpt,
                               .read = ReadOpt,
                               .write = WriteOpt};

}  // namespace puzzle
