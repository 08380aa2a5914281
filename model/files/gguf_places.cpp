#include <fmt/format.h>

#include <charconv>

#include "io/error.h"
#include "model/families/family.h"
#include "model/files/gguf_config.h"

namespace puzzle {

namespace {

struct GgufStack {
  std::string_view name = {};  // empty: the tensor stands alone
  int part = 0;
};

/// Where families stack tensors: the name within a layer and the place in it.
GgufStack StackOf(std::string_view family, std::string_view stem) {
  const bool stacks_qkv = family == "gpt2" || family == "phi3";
  if (stacks_qkv && stem == "self_attn.q_proj") return {"attn_qkv", 0};
  if (stacks_qkv && stem == "self_attn.k_proj") return {"attn_qkv", 1};
  if (stacks_qkv && stem == "self_attn.v_proj") return {"attn_qkv", 2};
  if (family == "phi3" && stem == "mlp.gate_proj") return {"ffn_up", 0};
  if (family == "phi3" && stem == "mlp.up_proj") return {"ffn_up", 1};
  return {};
}

}  // namespace

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
  const bool adds_one = config.arch.norms_add_one && stem.ends_with("norm");
  if (!stem.starts_with(kLayers))
    return {.name = among({{"model.embed_tokens", "token_embd"},
                           {"model.embed_positions", "position_embd"},
                           {"model.norm", "output_norm"},
                           {"lm_head", "output"}}) +
                    kind,
            .is_plus_one = adds_one};
  stem.remove_prefix(kLayers.size());
  const std::string_view number = stem.substr(0, stem.find('.'));
  size_t layer = 0;
  std::from_chars(number.data(), number.data() + number.size(), layer);
  stem.remove_prefix(number.size() + 1);
  GgufPlace place;
  if (const auto [stack, part] = StackOf(config.family, stem); !stack.empty()) {
    place.name = fmt::format("blk.{}.{}{}", layer, stack, kind);
    place.part = part;
    return place;
  }
  place.name = fmt::format("blk.{}.{}{}", layer,
                           among({{"input_layernorm", "attn_norm"},
                                  {"self_attn.post_norm", "post_attention_norm"},
                                  {"self_attn.q_proj", "attn_q"},
                                  {"self_attn.k_proj", "attn_k"},
                                  {"self_attn.v_proj", "attn_v"},
                                  {"self_attn.q_norm", "attn_q_norm"},
                                  {"self_attn.k_norm", "attn_k_norm"},
                                  {"self_attn.o_proj", "attn_output"},
                                  {"self_attn.linear_attn", "attn_output"},
                                  {"post_attention_layernorm", "ffn_norm"},
                                  {"mlp.post_norm", "post_ffw_norm"},
                                  {"mlp.gate_proj", "ffn_gate"},
                                  {"mlp.up_proj", "ffn_up"},
                                  {"mlp.down_proj", "ffn_down"}}),
                           kind);
  place.is_plus_one = adds_one;
  if (config.family == "llama") {
    const AttentionSpec& attention = config.blocks[layer].attention;
    if (stem == "self_attn.q_proj") place.rotated = QueryHeads(attention, config);
    if (stem == "self_attn.k_proj") place.rotated = attention.n_kv_heads;
  }
  return place;
}

}  // namespace puzzle
