// Phi-3 (and Phi-4): Llama with q, k and v stacked, gate and up stacked, windows, `longrope`, and
// rotation of a part of each head.
#include <nlohmann/json.hpp>

#include "model/families/families.h"

namespace puzzle {

namespace {

using Json = Family::Json;

constexpr Renaming kPhi3Names[] = {
    {"self_attn.q_proj", "self_attn.qkv_proj"}, {"self_attn.k_proj", "self_attn.qkv_proj"},
    {"self_attn.v_proj", "self_attn.qkv_proj"}, {"mlp.gate_proj", "mlp.gate_up_proj"},
    {"mlp.up_proj", "mlp.gate_up_proj"},
};
constexpr std::string_view kPhi3Ignored[] = {".rotary_emb.inv_freq"};

std::vector<int64_t> Phi3Windows(const HfFields& fields, size_t n_layers) {
  return std::vector<int64_t>(n_layers, fields.FindInt("sliding_window").value_or(0));
}

void WritePhi3(const ModelConfig& config, Json& json) {
  const int64_t window = LargestWindow(config);
  json["sliding_window"] = window > 0 ? Json(window) : Json(nullptr);
  if (config.rope.type == RopeConfig::Type::kLongRope)
    json["original_max_position_embeddings"] = config.rope.original_max_positions;
  if (config.rope.dims > 0)
    json["partial_rotary_factor"] =
        static_cast<double>(config.rope.dims) / static_cast<double>(config.head_dim);
}

}  // namespace

constinit const Family kPhi3 = {.model_type = "phi3",
                                .architecture = "Phi3ForCausalLM",
                                .fields = {.default_norm_eps = 1e-5, .default_positions = 4096},
                                .base_prefix = "model.",
                                .names = kPhi3Names,
                                .ignored = kPhi3Ignored,
                                .windows = Phi3Windows,
                                .write = WritePhi3};

}  // namespace puzzle
