#include "model/files/remote_code.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "model/files/hf_config.h"

namespace puzzle {

namespace {

using Json = nlohmann::ordered_json;

Json Rotary(const ModelConfig& config) {
  const RopeConfig& rope = config.rope;
  Json json = {{"inverse_frequencies", rope.InverseFrequencies(config.head_dim)},
               {"attention_factor", rope.attention_factor}};
  if (rope.type == RopeConfig::Type::kLongRope) {
    json["long_from"] = rope.original_max_positions;
    json["long_inverse_frequencies"] = rope.InverseFrequencies(config.head_dim, /*is_long=*/true);
  }
  if (config.window_rope)
    json["window_inverse_frequencies"] = config.window_rope->InverseFrequencies(config.head_dim);
  return json;
}

double ScaleOfScores(const ModelConfig& config) {
  const Architecture& arch = config.arch;
  if (!arch.scaled_attention) return 1.0;
  return 1.0 / std::sqrt(arch.query_scalar > 0 ? arch.query_scalar
                                               : static_cast<double>(config.head_dim));
}

Json ArchitectureJson(const ModelConfig& config) {
  const Architecture& arch = config.arch;
  return {{"norm", arch.norm == Architecture::Norm::kRms ? "rms" : "layer"},
          {"norm_eps", config.norm_eps},
          {"norms_add_one", arch.norms_add_one},
          {"post_norms", arch.post_norms},
          {"positions", arch.positions == Architecture::Positions::kRotary ? "rotary" : "learned"},
          {"position_offset", arch.position_offset},
          {"gated_ffn", arch.gated_ffn},
          {"qkv_bias", arch.qkv_bias},
          {"o_bias", arch.o_bias},
          {"ffn_bias", arch.ffn_bias},
          {"qk_norm", arch.qk_norm},
          {"score_scale", ScaleOfScores(config)},
          {"attention_cap", arch.attention_cap},
          {"logit_cap", arch.logit_cap},
          {"embedding_scale", arch.embedding_scale}};
}

/// From the family's own config to one that no stock class takes.
void BecomePuzzle(const ModelConfig& config, Json& json) {
  json["base_model_type"] = json["model_type"];
  json["model_type"] = kPuzzleModelType;
  json["architectures"] = {"PuzzleForCausalLM"};
  // Each block says its window; caches of transformers would take these for all of them.
  for (const char* name :
       {"sliding_window", "use_sliding_window", "max_window_layers", "layer_types"})
    json.erase(name);
  // Under the names that transformers itself looks for, whatever the family calls them.
  json["hidden_size"] = config.hidden_size;
  json["num_hidden_layers"] = config.n_layers();
  json["num_attention_heads"] = config.n_heads;
  json["head_dim"] = config.head_dim;
  json["hidden_act"] = ActivationName(config.arch.activation);
  json["max_position_embeddings"] = config.max_positions;
  json["architecture"] = ArchitectureJson(config);
}

}  // namespace

Json FolderJson(const ModelConfig& config) {
  Json json = ToHfJson(config);
  if (!json.contains("block_configs")) return json;
  const bool is_llama = config.family == "llama";
  if (!is_llama) BecomePuzzle(config, json);
  json["auto_map"] = {{"AutoConfig", is_llama ? "configuration_decilm.DeciLMConfig"
                                              : "configuration_decilm.PuzzleConfig"},
                      {"AutoModelForCausalLM", is_llama ? "modeling_decilm.DeciLMForCausalLM"
                                                        : "modeling_decilm.PuzzleForCausalLM"}};
  if (config.arch.positions == Architecture::Positions::kRotary) json["rotary"] = Rotary(config);
  return json;
}

const Family& NamingOf(const Json& config) {
  const HfFields fields(config, "config.json");
  const std::string type = fields.Text("model_type", "llama");
  const bool is_ours = type == kPuzzleModelType || type == "nemotron-nas";
  const Family* family = FindFamily(is_ours ? "llama" : type);
  PUZZLE_CHECK(family != nullptr, "a family that is read");
  return *family;
}

}  // namespace puzzle
