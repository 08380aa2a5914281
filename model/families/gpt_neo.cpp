// GPT-Neo: learned positions, layer norms, scores that are not scaled, windows in every other
// layer.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "io/error.h"
#include "model/families/families.h"

namespace puzzle {

namespace {

using A = Architecture;
using Json = Family::Json;

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

// [[["global", "local"], 6]] is six times that pair.
std::vector<std::string> ReadAttentionTypes(const HfFields& fields) {
  std::vector<std::string> layers;
  const Json* types = fields.Find("attention_types");
  if (types == nullptr) return layers;
  const char* expected = "a list of [[\"global\" or \"local\", ...], repeats]";
  if (!types->is_array()) fields.Wrong("attention_types", expected, *types);
  for (const Json& entry : *types) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_array() ||
        !entry[1].is_number_integer() || entry[1] < 1 || entry[1] > 4096)
      fields.Wrong("attention_types", expected, *types);
    for (int64_t i = 0; i < entry[1].get<int64_t>(); ++i)
      for (const Json& kind : entry[0]) {
        if ((kind != "global" && kind != "local") || layers.size() > 4096)
          fields.Wrong("attention_types", expected, *types);
        layers.push_back(kind.get<std::string>());
      }
  }
  return layers;
}

std::vector<int64_t> GptNeoWindows(const HfFields& fields, size_t n_layers) {
  const int64_t window = fields.FindInt("window_size").value_or(256);
  const std::vector<std::string> types = ReadAttentionTypes(fields);
  if (!types.empty() && types.size() != n_layers)
    throw Error(fmt::format("{}: attention_types: {} layers, but num_layers is {}", fields.where(),
                            types.size(), n_layers));
  std::vector<int64_t> windows(n_layers, 0);
  for (size_t i = 0; i < n_layers; ++i) {
    const bool local = types.empty() ? i % 2 == 1 : types[i] == "local";
    if (local) windows[i] = window;
  }
  return windows;
}

void WriteGptNeo(const ModelConfig& config, Json& json) {
  Json kinds = Json::array();
  for (const BlockSpec& block : config.blocks)
    kinds.push_back(block.attention.window > 0 ? "local" : "global");
  json["attention_types"] = Json::array({Json::array({kinds, 1})});
  json["attention_layers"] = kinds;
  const int64_t window = LargestWindow(config);
  json["window_size"] = window > 0 ? window : 256;
}

}  // namespace

constinit const Family kGptNeo = {.model_type = "gpt_neo",
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
                                  .arch = {.norm = A::Norm::kLayer,
                                           .positions = A::Positions::kLearned,
                                           .activation = A::Activation::kGeluTanh,
                                           .gated_ffn = false,
                                           .o_bias = true,
                                           .ffn_bias = true,
                                           .scaled_attention = false},
                                  .base_prefix = "transformer.",
                                  .names = kGptNeoNames,
                                  .ignored = kGptNeoIgnored,
                                  .windows = GptNeoWindows,
                                  .write = WriteGptNeo};

}  // namespace puzzle
