#include "model/files/gguf_form.h"

#include <fmt/format.h>

#include <algorithm>

#include "io/error.h"
#include "model/families/family.h"
#include "model/files/gguf_rope.h"

namespace puzzle {

namespace {

constexpr int64_t kZeroChannels = 32;   // as wide as a block of quantised types
constexpr size_t kMaxGgufLayers = 512;  // of llama.cpp
// Of llama.cpp's Gemma 3: every so many layers see all positions, the others are rotated like this.
constexpr size_t kGemmaPattern = 6;
constexpr double kGemmaWindowTheta = 10000.0;

[[noreturn]] void Refuse(const std::string& what) {
  throw Error("cannot be written as GGUF: " + what);
}

bool IsLlamaOrMistral(const ModelConfig& config) {
  return config.family == "llama" || config.family == "mistral";
}

void RefuseRope(const ModelConfig& config) {
  using Type = RopeConfig::Type;
  const RopeConfig& rope = config.rope;
  const bool is_phi3 = config.family == "phi3", is_gemma = config.family == "gemma3_text";
  const bool is_written = rope.type == Type::kPlain || (rope.type == Type::kLinear && !is_phi3) ||
                          (rope.type == Type::kLlama3 && !is_phi3 && !is_gemma) ||
                          (rope.type == Type::kLongRope && is_phi3);
  if (rope.type == Type::kLlama3 && config.family == "qwen3")
    Refuse("llama.cpp has Llama 3's rope scaling for Llama only");
  if (!is_written)
    Refuse(fmt::format("its rope scaling is none of those that are written ({})",
                       is_phi3    ? "none, longrope"
                       : is_gemma ? "none, linear"
                                  : "none, linear, llama3"));
  if (rope.RotatedDims(config.head_dim) != config.head_dim && !is_phi3)
    Refuse(fmt::format("{} of {} dimensions of a head are rotated, llama.cpp rotates all",
                       rope.RotatedDims(config.head_dim), config.head_dim));
}

/// What llama.cpp takes for granted of Gemma 3. `config` has the layers of the file, all alike but
/// for their windows.
void RefuseGemma(const ModelConfig& config) {
  const AttentionSpec& first = config.blocks.front().attention;
  for (size_t i = 0; i < config.blocks.size(); ++i)
    if (config.blocks[i].attention.window != ((i + 1) % kGemmaPattern != 0 ? first.window : 0))
      Refuse(
          fmt::format("layer {} has not the window that llama.cpp expects, all but every {}th "
                      "layer's",
                      i, kGemmaPattern));
  if (first.window == 0) Refuse("llama.cpp expects windows in Gemma 3, and this one has none");
  const bool is_largest = config.n_layers() == 62;
  const auto expected =
      static_cast<double>(is_largest ? config.hidden_size / config.n_heads : config.head_dim);
  if (config.arch.query_scalar != expected)
    Refuse(fmt::format("scores are divided by the root of {}, llama.cpp takes {}",
                       config.arch.query_scalar, expected));
  if (config.window_rope->theta != kGemmaWindowTheta)
    Refuse(fmt::format("the rotation under windows has base {}, llama.cpp's {}",
                       config.window_rope->theta, kGemmaWindowTheta));
}

/// What sub-blocks are made of must be what the family's are, but for biases.
void RefuseArchitecture(const ModelConfig& config) {
  Architecture usual = FamilyOf(config).arch;
  usual.qkv_bias = config.arch.qkv_bias;
  usual.o_bias = config.arch.o_bias;
  usual.ffn_bias = config.arch.ffn_bias;
  usual.embedding_scale = config.arch.embedding_scale;  // always the root of the width
  usual.query_scalar = config.arch.query_scalar;        // see RefuseGemma
  if (!(usual == config.arch))
    Refuse(
        fmt::format("an activation \"{}\", or how attention is scaled, is not what llama.cpp "
                    "computes for {}",
                    ActivationName(config.arch.activation), config.family));
  const bool has_no_biases = config.family == "qwen3" || config.family == "gemma3_text";
  if (has_no_biases && (config.arch.qkv_bias || config.arch.o_bias))
    Refuse(fmt::format("llama.cpp's {} has no biases of attention", config.family));
}

void RefuseUnsayable(const ModelConfig& config) {
  constexpr std::string_view kWritten[] = {"llama", "mistral", "qwen2",      "qwen3",
                                           "gpt2",  "phi3",    "gemma3_text"};
  if (config.family == "gemma2")
    Refuse("llama.cpp caps the logits of every Gemma 2, and those of this one have no cap");
  if (std::find(std::begin(kWritten), std::end(kWritten), config.family) == std::end(kWritten))
    Refuse(fmt::format("family {} is none of those that are written ({})", config.family,
                       fmt::join(kWritten, ", ")));
  RefuseArchitecture(config);
  if (config.arch.positions == Architecture::Positions::kRotary) RefuseRope(config);
  for (size_t i = 0; i < config.blocks.size(); ++i) {
    const AttentionSpec& attention = config.blocks[i].attention;
    if (config.family != "gemma3_text" && attention.is_full() && attention.window > 0 &&
        attention.window < config.max_positions)
      Refuse(fmt::format("queries of layer {} see {} positions only, which {}", i, attention.window,
                         config.family == "phi3" ? "llama.cpp does not do in Phi-3"
                                                 : config.family + " has no key for"));
  }
  if (config.family == "phi3" && config.n_heads * config.head_dim != config.hidden_size)
    Refuse(fmt::format("{} heads of {} dimensions; llama.cpp expects the hidden size, {}, in all",
                       config.n_heads, config.head_dim, config.hidden_size));
}

std::vector<GgufLayer> Pack(const std::vector<BlockSpec>& blocks) {
  std::vector<GgufLayer> layers;
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (!blocks[i].attention.is_none()) layers.push_back({.attention = i});
    if (blocks[i].ffn.is_linear()) {
      layers.push_back({.linear_ffn = i});
    } else if (blocks[i].ffn.is_full()) {
      if (layers.empty() || layers.back().ffn) layers.emplace_back();
      layers.back().ffn = i;
    }
  }
  return layers;
}

AttentionSpec AttentionIn(const GgufLayer& layer, bool is_first, const ModelConfig& config) {
  AttentionSpec made;
  made.form = SubBlockForm::kNone;
  if (layer.attention && config.blocks[*layer.attention].attention.is_full()) {
    const AttentionSpec& own = config.blocks[*layer.attention].attention;
    made.form = SubBlockForm::kFull;
    made.n_kv_heads = own.n_kv_heads;
    made.n_query_heads = QueryHeads(own, config);
    if (config.family == "gemma3_text") made.window = own.window;
  } else if (layer.attention || layer.linear_ffn || is_first) {
    made.form = SubBlockForm::kLinear;
  }
  return made;
}

FfnSpec FfnIn(const GgufLayer& layer, const ModelConfig& config) {
  return {SubBlockForm::kFull, layer.ffn ? config.blocks[*layer.ffn].ffn.size : kZeroChannels};
}

/// The blocks as they lie in the file, and the number of query heads that most of them are told by.
void PutBlocks(const ModelConfig& config, GgufForm& form) {
  form.config.blocks.clear();
  int64_t most = 0;
  for (size_t i = 0; i < form.layers.size(); ++i) {
    const BlockSpec block = {AttentionIn(form.layers[i], i == 0, config),
                             FfnIn(form.layers[i], config)};
    most = std::max(most, block.attention.n_query_heads);
    form.config.blocks.push_back(block);
  }
  if (most == 0) Refuse("llama.cpp needs a layer with attention, and none is left");
  if (form.layers.size() > kMaxGgufLayers)
    Refuse(fmt::format("{} layers, llama.cpp reads {}", form.layers.size(), kMaxGgufLayers));
  form.config.n_heads = most;
  for (BlockSpec& block : form.config.blocks)
    if (block.attention.n_query_heads == most) block.attention.n_query_heads = 0;
}

/// But for windows, which have been looked at.
bool IsUniform(const ModelConfig& config) {
  BlockSpec first = config.blocks.front();
  return first.attention.is_full() &&
         std::all_of(config.blocks.begin(), config.blocks.end(), [&](const BlockSpec& block) {
           first.attention.window = block.attention.window;
           return block == first;
         });
}

/// llama.cpp expects a bias of q as long as the hidden state.
void RefuseBiases(const ModelConfig& config) {
  if (!config.arch.qkv_bias) return;
  for (size_t i = 0; i < config.blocks.size(); ++i) {
    const AttentionSpec& attention = config.blocks[i].attention;
    const int64_t width = QueryHeads(attention, config) * config.head_dim;
    if (attention.is_full() && width != config.hidden_size)
      Refuse(
          fmt::format("layer {} there has query heads of {} dimensions together with biases; "
                      "llama.cpp expects the hidden size, {}",
                      i, width, config.hidden_size));
  }
}

void BecomeLlama(ModelConfig& config) {
  const bool is_biased = config.arch.qkv_bias || config.arch.o_bias;
  const bool ffn_bias = config.arch.ffn_bias;
  config.family = "llama";
  config.arch = FamilyOf(config).arch;
  config.arch.qkv_bias = config.arch.o_bias = is_biased;  // Llama has all of them or none
  config.arch.ffn_bias = ffn_bias;
}

}  // namespace

GgufForm GgufFormOf(const ModelConfig& config) {
  RefuseUnsayable(config);
  GgufForm form;
  form.config = config;
  form.layers = Pack(config.blocks);
  PutBlocks(config, form);
  const bool is_uniform = IsUniform(form.config);
  const bool is_own_qwen2 =
      config.family == "qwen2" && is_uniform && config.rope.type != RopeConfig::Type::kLlama3;
  if (IsLlamaOrMistral(config) || (config.family == "qwen2" && !is_own_qwen2)) {
    BecomeLlama(form.config);
    form.architecture = is_uniform ? "llama" : "deci";
  } else {
    if (!is_uniform)
      Refuse(fmt::format("its layers differ, which llama.cpp knows of Llama only, not of {}",
                         config.family));
    if (config.family == "gemma3_text") RefuseGemma(form.config);
    form.architecture = config.family == "gemma3_text" ? "gemma3" : config.family;
  }
  const AttentionSpec& first = form.config.blocks.front().attention;
  if (FamilyOf(form.config).fields.kv_heads == nullptr && first.n_kv_heads != form.config.n_heads)
    Refuse(fmt::format("{} has as many kv heads as query heads there", config.family));
  RefuseBiases(form.config);
  return form;
}

GgufMetadata GgufKeysOf(const GgufForm& form) {
  const ModelConfig& config = form.config;
  GgufMetadata keys = {{"general.architecture", form.architecture},
                       {"general.type", std::string("model")}};
  const auto add = [&](const char* key, GgufValue value) {
    keys.emplace_back(form.architecture + "." + key, std::move(value));
  };
  std::vector<int64_t> heads, kv_heads, ffn;
  for (const BlockSpec& block : config.blocks) {
    const AttentionSpec& attention = block.attention;
    heads.push_back(attention.is_none() ? 0 : QueryHeads(attention, config));
    kv_heads.push_back(attention.is_full() ? attention.n_kv_heads : 0);
    ffn.push_back(block.ffn.size);
  }
  const auto add_sizes = [&](const char* key, std::vector<int64_t> sizes) {
    if (form.architecture == "deci") return add(key, std::move(sizes));
    add(key, sizes.front());
  };
  add("block_count", config.n_layers());
  add("context_length", config.max_positions);
  add("embedding_length", config.hidden_size);
  add("vocab_size", config.vocab_size);
  add_sizes("feed_forward_length", std::move(ffn));
  add_sizes("attention.head_count", std::move(heads));
  if (FamilyOf(config).fields.kv_heads != nullptr) {
    add_sizes("attention.head_count_kv", std::move(kv_heads));
    add("attention.key_length", config.head_dim);
    add("attention.value_length", config.head_dim);
  }
  const bool is_rms = config.arch.norm == Architecture::Norm::kRms;
  add(is_rms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon",
      config.norm_eps);
  if (config.arch.positions == Architecture::Positions::kRotary)
    AddRopeKeys(form.architecture, config, keys);
  if (form.architecture == "gemma3")
    add("attention.sliding_window", config.blocks.front().attention.window);
  if (form.architecture == "phi3") add("attention.sliding_window", int64_t{0});
  return keys;
}

}  // namespace puzzle
