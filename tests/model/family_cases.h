// A small checkpoint of every family, and children of it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "model/files/hf_config.h"
#include "model/surgery.h"
#include "tests/model/tiny_model.h"

namespace puzzle {

struct FamilyCase {
  const char* name;
  const char* config;
};

inline constexpr const char* kLlamaLike = R"("hidden_size": 32, "intermediate_size": 48,
    "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 64, "vocab_size": 40)";

inline const FamilyCase kFamilyCases[] = {
    {"llama", R"("model_type": "llama")"},
    {"llama_biases", R"("model_type": "llama", "attention_bias": true, "mlp_bias": true)"},
    {"mistral", R"("model_type": "mistral", "sliding_window": 5)"},
    {"qwen2", R"("model_type": "qwen2", "use_sliding_window": true, "sliding_window": 4,
                 "max_window_layers": 1)"},
    {"qwen3", R"("model_type": "qwen3", "head_dim": 16)"},
    {"gpt2", R"("model_type": "gpt2", "n_embd": 32, "n_layer": 3, "n_head": 4,
                "n_positions": 64)"},
    {"gpt_neo", R"("model_type": "gpt_neo", "num_layers": 3, "num_heads": 4, "window_size": 5,
                   "intermediate_size": null,
                   "attention_types": [[["global", "local"], 1], [["global"], 1]])"},
    {"opt", R"("model_type": "opt", "ffn_dim": 48, "word_embed_proj_dim": 32)"},
    {"phi3", R"("model_type": "phi3", "partial_rotary_factor": 0.5, "sliding_window": 6)"},
    {"gemma2", R"("model_type": "gemma2", "head_dim": 16, "sliding_window": 5,
                  "query_pre_attn_scalar": 12, "attn_logit_softcapping": 2.0,
                  "final_logit_softcapping": null)"},
    {"gemma3", R"("model_type": "gemma3_text", "head_dim": 16, "sliding_window": 5,
                  "sliding_window_pattern": 2, "query_pre_attn_scalar": 12)"},
};

inline ModelConfig ConfigOf(const FamilyCase& c) {
  nlohmann::ordered_json json = nlohmann::ordered_json::parse(std::string("{") + kLlamaLike + "}");
  json.update(nlohmann::ordered_json::parse(std::string("{") + c.config + "}"));
  return ModelConfigFromJson(json, c.name);
}

// Random weights, biases and norms too.
inline ModelWeights RandomWeights(const ModelConfig& config) {
  ModelWeights model = RandomModel(config, 7);
  uint64_t seed = 1;
  for (const auto& [name, slot] : Slots(model))
    slot->add_(RandomTensor(slot->sizes().vec(), ++seed), slot->dim() == 1 ? 0.2 : 0.15);
  return model;
}

// The parent with one variant of each kind.
inline ModelWeights Child(const ModelWeights& parent) {
  ModelWeights child = parent;
  const std::pair<int64_t, const char*> variants[] = {
      {0, "attn:linear"}, {0, "ffn:24"}, {1, "attn:kv1"}, {1, "ffn:linear"}, {2, "attn:none"}};
  for (const auto& [layer, name] : variants) {
    const VariantSpec spec = ResolveVariant(name, parent.config, layer);
    Replace(child, layer, spec, InitVariant(parent, layer, spec));
  }
  return child;
}

// One kv head of layer 1, with its query heads.
inline std::string OneGroup(const ModelConfig& config) {
  return "attn:kv1q" + std::to_string(config.n_heads / config.blocks[1].attention.n_kv_heads);
}

inline ModelWeights Pruned(const ModelWeights& parent) {
  ModelWeights child = parent;
  const VariantSpec spec = ResolveVariant(OneGroup(parent.config), parent.config, 1);
  Replace(child, 1, spec, InitVariant(parent, 1, spec));
  return child;
}

}  // namespace puzzle
