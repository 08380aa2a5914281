// Mistral: Llama with windows.
#include <nlohmann/json.hpp>

#include "model/families/families.h"

namespace puzzle {

namespace {

constexpr std::string_view kMistralIgnored[] = {".rotary_emb.inv_freq"};

std::vector<int64_t> MistralWindows(const HfFields& fields, size_t n_layers) {
  const bool said = fields.Has("sliding_window");
  return std::vector<int64_t>(n_layers, said ? fields.FindInt("sliding_window").value_or(0) : 4096);
}

void WriteMistral(const ModelConfig& config, Family::Json& json) {
  const int64_t window = LargestWindow(config);
  json["sliding_window"] = window > 0 ? Family::Json(window) : Family::Json(nullptr);
}

}  // namespace

constinit const Family kMistral = {.model_type = "mistral",
                                   .architecture = "MistralForCausalLM",
                                   .base_prefix = "model.",
                                   .ignored = kMistralIgnored,
                                   .windows = MistralWindows,
                                   .write = WriteMistral};

}  // namespace puzzle
