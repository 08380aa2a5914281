#include "model/files/readers.h"

#include <fmt/format.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>

#include "model/files/gguf_form.h"
#include "model/files/hf_config.h"
#include "model/files/stored_heads.h"

namespace puzzle {

namespace {

/// What is in the way of a reader, or nothing.
using Obstacle = std::optional<std::string>;

/// The first layer that is so, in words; nothing when none is.
Obstacle FirstLayer(const ModelConfig& config, const char* what,
                    const std::function<bool(const BlockSpec&)>& is_so) {
  for (size_t i = 0; i < config.blocks.size(); ++i)
    if (is_so(config.blocks[i])) return fmt::format("layer {} {}", i, what);
  return std::nullopt;
}

Obstacle LinearSubBlock(const ModelConfig& config) {
  return FirstLayer(config, "has a linear sub-block", [](const BlockSpec& block) {
    return block.attention.is_linear() || block.ffn.is_linear();
  });
}

Obstacle NoAttentionInFront(const ModelConfig& config) {
  const BlockSpec& first = config.blocks.front();
  if (!first.attention.is_none() || first.ffn.is_none()) return std::nullopt;
  return "layer 0 has no attention";
}

Obstacle OddFfn(const ModelConfig& config) {
  return FirstLayer(config, "has an FFN that is no multiple of 256", [](const BlockSpec& block) {
    return block.ffn.is_full() && block.ffn.size % 256 != 0;
  });
}

Obstacle OtherKvHeads(const ModelConfig& config) {
  int64_t kv_heads = 0;
  return FirstLayer(config, "has other kv heads than those before it", [&](const BlockSpec& block) {
    if (!block.attention.is_full()) return false;
    if (kv_heads == 0) kv_heads = block.attention.n_kv_heads;
    return block.attention.n_kv_heads != kv_heads;
  });
}

/// transformers runs our own code, which knows them.
Obstacle WindowedLayer(const ModelConfig& config) {
  return FirstLayer(config, "has a window", [&](const BlockSpec& block) {
    return block.attention.window > 0 && block.attention.window < config.max_positions;
  });
}

Obstacle OtherWidth(const ModelConfig& config) {
  if (config.n_heads * config.head_dim == config.hidden_size) return std::nullopt;
  return fmt::format("{} heads of {} are not the hidden size, {}", config.n_heads, config.head_dim,
                     config.hidden_size);
}

/// A reader of nemotron-nas, and what it cannot take.
struct DeciReader {
  const char* name;
  std::vector<Obstacle (*)(const ModelConfig&)> rules;
  const char* otherwise;  // what it needs
};

const std::vector<DeciReader>& DeciReaders() {
  static const std::vector<DeciReader> all = {
      {"vLLM", {LinearSubBlock, NoAttentionInFront, WindowedLayer}, "--trust-remote-code"},
      {"SGLang",
       {LinearSubBlock, NoAttentionInFront, OddFfn, OtherKvHeads, WindowedLayer},
       "--trust-remote-code"},
      {"TensorRT-LLM", {OddFfn, WindowedLayer}, "trust_remote_code=True"},
      {"mlx-lm", {LinearSubBlock, OddFfn, OtherWidth, WindowedLayer}, ""},
  };
  return all;
}

ReaderVerdict VerdictOf(const DeciReader& reader, const ModelConfig& config) {
  for (const auto& rule : reader.rules)
    if (const Obstacle obstacle = rule(config)) return {reader.name, false, *obstacle};
  const bool needs_sizes = OddFfn(config).has_value();  // said as intermediate_size
  return {reader.name, true,
          needs_sizes ? fmt::format("{}, 0.13 or later", reader.otherwise) : reader.otherwise};
}

ReaderVerdict LlamaCppNeedsGguf() {
  return {"llama.cpp", false, "reads GGUF: --format gguf"};
}

}  // namespace

std::vector<ReaderVerdict> ReadersOfFolder(const ModelConfig& config) {
  const bool is_plain = !ToHfJson(config).contains("block_configs");
  const bool is_llama = config.family == "llama";
  std::vector<ReaderVerdict> all = {
      {"transformers", true, is_plain ? "" : "trust_remote_code=True"}};
  const ModelConfig stored = StoredShape(config);
  for (const DeciReader& reader : DeciReaders()) {
    if (is_plain) {
      all.push_back({reader.name, true, "as any " + config.family});
    } else if (is_llama) {
      all.push_back(VerdictOf(reader, stored));
    } else {
      all.push_back(
          {reader.name, false, "knows layers that differ of Llama only, not of " + config.family});
    }
  }
  all.push_back(LlamaCppNeedsGguf());
  return all;
}

std::vector<ReaderVerdict> ReadersOfAnyModel() {
  return {{"ModelOpt", true, "its puzzletron, from block_configs"},
          {"vLLM", false, "in no release yet; its pull request 36512 reads it"},
          {"transformers", false,
           "5.14 and later read per_layer_config and still build layers that are alike"},
          {"others", false, "--format hf, dense or gguf"}};
}

std::vector<ReaderVerdict> ReadersOfGguf(const ModelConfig& config) {
  const GgufForm form = GgufFormOf(config);
  const bool is_deci = form.architecture == "deci";
  std::vector<ReaderVerdict> all = {
      {"llama.cpp", true, fmt::format("as {}, and what is built on it", form.architecture)}};
  all.push_back({"transformers", !is_deci,
                 is_deci ? "knows no GGUF files whose layers differ: --format hf"
                         : "gguf_file=..., which it turns into floats"});
  for (const char* name : {"SGLang", "TensorRT-LLM", "mlx-lm"})
    all.push_back({name, false, "give it the folder: --format hf"});
  all.push_back(
      {"vLLM", !is_deci,
       is_deci ? "give it the folder: --format hf" : "slowly; the folder is what it is for"});
  return all;
}

}  // namespace puzzle
