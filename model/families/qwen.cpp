// Qwen2 and Qwen3: Llama with biases of q, k and v, or with norms of the heads of q and k; windows
// in the upper layers.
#include <nlohmann/json.hpp>

#include "model/families/families.h"

namespace puzzle {

namespace {

using Json = Family::Json;

constexpr std::string_view kQwenIgnored[] = {".rotary_emb.inv_freq"};

std::vector<int64_t> QwenWindows(const HfFields& fields, size_t n_layers) {
  std::vector<int64_t> windows(n_layers, 0);
  if (!fields.Bool("use_sliding_window", false)) return windows;
  const int64_t full = fields.FindInt("max_window_layers").value_or(28);
  for (size_t i = 0; i < n_layers; ++i)
    if (static_cast<int64_t>(i) >= full)
      windows[i] = fields.FindInt("sliding_window").value_or(4096);
  return windows;
}

void WriteQwen2(const ModelConfig& config, Json& json) {
  const int64_t window = LargestWindow(config);
  int64_t full = 0;
  while (full < config.n_layers() && config.blocks[static_cast<size_t>(full)].attention.window == 0)
    ++full;
  json["use_sliding_window"] = window > 0;
  json["sliding_window"] = window > 0 ? Json(window) : Json(nullptr);
  json["max_window_layers"] = full;
}

void ReadQwen3(const HfFields& fields, ModelConfig& config) {
  config.arch.qkv_bias = config.arch.o_bias = fields.Bool("attention_bias", false);
}

void WriteQwen3(const ModelConfig& config, Json& json) {
  json["attention_bias"] = config.arch.qkv_bias;
  WriteQwen2(config, json);
}

}  // namespace

constinit const Family kQwen2 = {.model_type = "qwen2",
                                 .architecture = "Qwen2ForCausalLM",
                                 .arch = {.qkv_bias = true},
                                 .base_prefix = "model.",
                                 .ignored = kQwenIgnored,
                                 .windows = QwenWindows,
                                 .write = WriteQwen2};

constinit const Family kQwen3 = {.model_type = "qwen3",
                                 .architecture = "Qwen3ForCausalLM",
                                 .fields = {.default_head_dim = 128},
                                 .arch = {.qk_norm = true},
                                 .base_prefix = "model.",
                                 .ignored = kQwenIgnored,
                                 .read = ReadQwen3,
                                 .windows = QwenWindows,
                                 .write = WriteQwen3};

}  // namespace puzzle
