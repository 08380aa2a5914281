#include "model/shape/config.h"

#include <cmath>
#include <numbers>

#include <fmt/format.h>

#include "io/error.h"

namespace puzzle {

namespace {
constexpr int64_t kMaxDimension = int64_t{1} << 24;
constexpr int64_t kMaxLayers = 4096;
}  // namespace

std::vector<double> RopeConfig::InverseFrequencies(int64_t head_dim) const {
  std::vector<double> frequencies(static_cast<size_t>(head_dim / 2));
  for (size_t k = 0; k < frequencies.size(); ++k) {
    double f = std::pow(theta, -2.0 * static_cast<double>(k) / static_cast<double>(head_dim));
    if (type == Type::kLinear) f /= factor;
    if (type == Type::kLlama3) {
      // Llama 3.1: long waves are stretched by `factor`, short ones kept, those between blended.
      const double original = static_cast<double>(original_max_positions);
      const double wavelength = 2.0 * std::numbers::pi / f;
      if (wavelength > original / low_freq_factor) {
        f /= factor;
      } else if (wavelength >= original / high_freq_factor) {
        const double s =
            (original / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
        f = (1.0 - s) * f / factor + s * f;
      }
    }
    frequencies[k] = f;
  }
  return frequencies;
}

void CheckModelConfig(const ModelConfig& config, const std::string& where) {
  auto require_size = [&](int64_t value, const char* field, int64_t limit) {
    if (value < 1 || value > limit)
      throw Error(fmt::format("{}: {} is {}, expected 1 to {}", where, field, value, limit));
  };
  require_size(config.vocab_size, "vocab_size", kMaxDimension);
  require_size(config.hidden_size, "hidden_size", kMaxDimension);
  require_size(config.n_heads, "num_attention_heads", 1 << 16);
  require_size(config.head_dim, "head_dim", 1 << 16);
  require_size(config.max_positions, "max_position_embeddings", int64_t{1} << 32);
  require_size(config.n_layers(), "num_hidden_layers", kMaxLayers);
  const bool rotary = config.arch.positions == Architecture::Positions::kRotary;
  if (rotary && config.head_dim % 2 != 0)
    throw Error(fmt::format("{}: head_dim {} is odd; rotary embeddings need pairs", where,
                            config.head_dim));
  if (!(config.norm_eps > 0 && config.norm_eps < 1))
    throw Error(fmt::format("{}: the norms' epsilon is {}, expected a small positive number", where,
                            config.norm_eps));
  if (config.arch.gated_ffn && config.arch.activation != Architecture::Activation::kSilu)
    throw Error(fmt::format("{}: activation \"{}\" is not supported in a gated FFN (silu)", where,
                            ActivationName(config.arch.activation)));
  if (!(config.rope.theta > 0 && std::isfinite(config.rope.theta) && config.rope.factor > 0))
    throw Error(where + ": rope_theta and the rope scaling factor must be positive");
  for (int64_t layer = 0; layer < config.n_layers(); ++layer) {
    const BlockSpec& block = config.blocks[static_cast<size_t>(layer)];
    if (block.attention.form == SubBlockForm::kFull) {
      const int64_t heads = QueryHeads(block.attention, config), kv = block.attention.n_kv_heads;
      if (heads < 1 || heads > config.n_heads)
        throw Error(fmt::format("{}: layer {}: {} query heads, the model has {}", where, layer,
                                heads, config.n_heads));
      if (kv < 1 || heads % kv != 0)
        throw Error(fmt::format("{}: layer {}: {} kv heads do not divide {} attention heads", where,
                                layer, kv, heads));
    }
    if (block.attention.window != 0)
      require_size(block.attention.window, "the attention window", int64_t{1} << 32);
    if (block.ffn.form == SubBlockForm::kFull)
      require_size(block.ffn.size, "intermediate_size", kMaxDimension);
  }
}

int64_t QueryHeads(const AttentionSpec& spec, const ModelConfig& config) {
  return spec.n_query_heads != 0 ? spec.n_query_heads : config.n_heads;
}

std::string_view ActivationName(Architecture::Activation activation) {
  switch (activation) {
    case Architecture::Activation::kSilu:
      return "silu";
    case Architecture::Activation::kGelu:
      return "gelu";
    case Architecture::Activation::kGeluTanh:
      return "gelu_new";
    case Architecture::Activation::kRelu:
      return "relu";
  }
  throw BugError("unknown activation");
}

std::string Describe(const AttentionSpec& spec) {
  switch (spec.form) {
    case SubBlockForm::kFull:
      return fmt::format("kv{}{}{}", spec.n_kv_heads,
                         spec.n_query_heads == 0 ? "" : fmt::format("q{}", spec.n_query_heads),
                         spec.window == 0 ? "" : fmt::format("w{}", spec.window));
    case SubBlockForm::kLinear:
      return "linear";
    case SubBlockForm::kNone:
      return "none";
  }
  throw BugError("unknown sub-block form");
}

std::string Describe(const FfnSpec& spec) {
  if (spec.form == SubBlockForm::kFull) return fmt::format("{}", spec.size);
  return Describe(AttentionSpec{spec.form, 0});
}

}  // namespace puzzle
