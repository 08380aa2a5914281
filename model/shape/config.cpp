#include "model/shape/config.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <fmt/format.h>

#include "io/error.h"

namespace puzzle {

namespace {
constexpr int64_t kMaxDimension = int64_t{1} << 24;
constexpr int64_t kMaxLayers = 4096;
}  // namespace

namespace {

// Llama 3.1: long waves are stretched by `factor`, short ones kept, those between blended.
double Llama3Frequency(const RopeConfig& rope, double f) {
  const auto original = static_cast<double>(rope.original_max_positions);
  const double wavelength = 2.0 * std::numbers::pi / f;
  if (wavelength > original / rope.low_freq_factor) return f / rope.factor;
  if (wavelength < original / rope.high_freq_factor) return f;
  const double s = (original / wavelength - rope.low_freq_factor) /
                   (rope.high_freq_factor - rope.low_freq_factor);
  return (1.0 - s) * f / rope.factor + s * f;
}

// YaRN: pairs that turn often within the original context are kept, those that hardly turn are
// stretched by `factor`, a ramp over the pairs between.
void ApplyYarn(const RopeConfig& rope, int64_t dims, std::vector<double>& frequencies) {
  const auto pair_that_turns = [&](double times) {
    return static_cast<double>(dims) *
           std::log(static_cast<double>(rope.original_max_positions) /
                    (times * 2.0 * std::numbers::pi)) /
           (2.0 * std::log(rope.theta));
  };
  double low = pair_that_turns(rope.beta_fast), high = pair_that_turns(rope.beta_slow);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(dims) - 1.0);
  if (low == high) high += 0.001;
  for (size_t k = 0; k < frequencies.size(); ++k) {
    const double stretched = std::clamp((static_cast<double>(k) - low) / (high - low), 0.0, 1.0);
    frequencies[k] *= stretched / rope.factor + (1.0 - stretched);
  }
}

}  // namespace

std::vector<double> RopeConfig::InverseFrequencies(int64_t head_dim, bool is_long) const {
  const int64_t rotated = RotatedDims(head_dim);
  std::vector<double> frequencies(static_cast<size_t>(rotated / 2));
  for (size_t k = 0; k < frequencies.size(); ++k) {
    double f = std::pow(theta, -2.0 * static_cast<double>(k) / static_cast<double>(rotated));
    if (type == Type::kLinear) f /= factor;
    if (type == Type::kLlama3) f = Llama3Frequency(*this, f);
    if (type == Type::kLongRope) f /= (is_long ? long_factors : short_factors)[k];
    frequencies[k] = f;
  }
  if (type == Type::kYarn) ApplyYarn(*this, rotated, frequencies);
  return frequencies;
}

namespace {

void CheckRope(const RopeConfig& rope, int64_t head_dim, const std::string& where) {
  const auto is_size = [](double value) { return value > 0 && std::isfinite(value); };
  if (!is_size(rope.theta) || !is_size(rope.factor))
    throw Error(where + ": rope_theta and the rope scaling factor must be positive");
  if (!is_size(rope.attention_factor) || !is_size(rope.beta_slow) ||
      !(rope.beta_fast >= rope.beta_slow) || !std::isfinite(rope.beta_fast))
    throw Error(where +
                ": the rope scaling's attention_factor, beta_fast and beta_slow must be "
                "positive, beta_fast the larger one");
  if (rope.type == RopeConfig::Type::kLlama3 &&
      (!(rope.high_freq_factor > rope.low_freq_factor) || !is_size(rope.low_freq_factor)))
    throw Error(where + ": high_freq_factor must exceed low_freq_factor, both positive");
  if (rope.original_max_positions < 2)
    throw Error(fmt::format("{}: original_max_position_embeddings is {}, expected a context", where,
                            rope.original_max_positions));
  const int64_t dims = rope.RotatedDims(head_dim);
  if (dims < 2 || dims > head_dim || dims % 2 != 0)
    throw Error(fmt::format("{}: {} of {} dimensions of a head are rotated; expected an even part",
                            where, dims, head_dim));
  if (rope.type != RopeConfig::Type::kLongRope) return;
  for (const auto* factors : {&rope.short_factors, &rope.long_factors})
    if (std::ssize(*factors) != dims / 2 || !std::all_of(factors->begin(), factors->end(), is_size))
      throw Error(
          fmt::format("{}: the rope scaling's short_factor and long_factor need {} positive "
                      "numbers each",
                      where, dims / 2));
}

}  // namespace

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
  if (rotary && config.rope.dims == 0 && config.head_dim % 2 != 0)
    throw Error(fmt::format("{}: head_dim {} is odd; rotary embeddings need pairs", where,
                            config.head_dim));
  if (!(config.norm_eps > 0 && config.norm_eps < 1))
    throw Error(fmt::format("{}: the norms' epsilon is {}, expected a small positive number", where,
                            config.norm_eps));
  if (rotary) CheckRope(config.rope, config.head_dim, where);
  if (config.window_rope) CheckRope(*config.window_rope, config.head_dim, where);
  for (const double size : {config.arch.query_scalar, config.arch.attention_cap,
                            config.arch.logit_cap, config.arch.embedding_scale})
    if (!(size >= 0 && std::isfinite(size)))
      throw Error(fmt::format("{}: a scale or cap is {}, expected a positive number", where, size));
  for (int64_t layer = 0; layer < config.n_layers(); ++layer) {
    const BlockSpec& block = config.blocks[static_cast<size_t>(layer)];
    if (block.attention.is_full()) {
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
    if (block.ffn.is_full()) require_size(block.ffn.size, "intermediate_size", kMaxDimension);
  }
}

void CheckPromptIds(std::span<const int32_t> prompt, const ModelConfig& config) {
  for (const int32_t id : prompt)
    if (id < 0 || id >= config.vocab_size)
      throw Error(fmt::format("token id {} of the prompt is outside the model's vocabulary of {}",
                              id, config.vocab_size));
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
  if (spec.is_full()) return fmt::format("{}", spec.size);
  return Describe(AttentionSpec{spec.form, 0});
}

}  // namespace puzzle
