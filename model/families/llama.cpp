// Llama, whose tensors have our own names.
#include <nlohmann/json.hpp>

#include "model/families/families.h"

namespace puzzle {

namespace {

constexpr std::string_view kLlamaIgnored[] = {".rotary_emb.inv_freq"};

void ReadLlama(const HfFields& fields, ModelConfig& config) {
  config.arch.qkv_bias = config.arch.o_bias = fields.Bool("attention_bias", false);
  config.arch.ffn_bias = fields.Bool("mlp_bias", false);
}

void WriteLlama(const ModelConfig& config, Family::Json& json) {
  json["attention_bias"] = config.arch.qkv_bias;
  json["mlp_bias"] = config.arch.ffn_bias;
}

}  // namespace

constinit const Family kLlama = {.model_type = "llama",
                                 .architecture = "LlamaForCausalLM",
                                 .base_prefix = "model.",
                                 .ignored = kLlamaIgnored,
                                 .read = ReadLlama,
                                 .write = WriteLlama};

}  // namespace puzzle
