#include "model/block/counts.h"

#include <algorithm>

#include "io/error.h"

namespace puzzle::block {

namespace {

int64_t CountFull(const AttentionSpec& spec, const ModelConfig& config) {
  const Architecture& arch = config.arch;
  const int64_t d = config.hidden_size, dim = config.head_dim;
  const int64_t queries = QueryHeads(spec, config);
  const int64_t into = queries + 2 * spec.n_kv_heads;  // heads of q, k and v
  int64_t count = d * dim * (into + queries);
  if (arch.qkv_bias) count += dim * into;
  if (arch.o_bias) count += d;
  if (arch.qk_norm) count += 2 * dim;
  if (arch.post_norms) count += CountNorm(config);
  return count;
}

int64_t CountFull(const FfnSpec& spec, const ModelConfig& config) {
  const int64_t d = config.hidden_size;
  const int64_t into = config.arch.gated_ffn ? 2 : 1;  // matrices before the activation
  return spec.size * d * (into + 1) + (config.arch.ffn_bias ? into * spec.size + d : 0) +
         (config.arch.post_norms ? CountNorm(config) : 0);
}

template <class Spec>
int64_t Count(const Spec& spec, bool biased, const ModelConfig& config) {
  const int64_t d = config.hidden_size;
  switch (spec.form) {
    case SubBlockForm::kFull:
      return CountNorm(config) + CountFull(spec, config);
    case SubBlockForm::kLinear:
      return CountNorm(config) + d * d + (biased ? d : 0);
    case SubBlockForm::kNone:
      return 0;
  }
  throw BugError("unknown sub-block form");
}

// Of a token.
double KeptPlain(const BlockSpec& block, const ModelConfig& config) {
  const int64_t channels = block.ffn.is_full() ? block.ffn.size : 0;
  return sizeof(float) * static_cast<double>(12 * config.hidden_size + 4 * channels);
}

constexpr double kBf16Bytes = 2;

// The state, what the norm divides by, and what lies between the matrices.
template <class Spec>
double KeptFused(const Spec& spec, double between, const ModelConfig& config) {
  const double state = sizeof(float) * static_cast<double>(config.hidden_size);
  switch (spec.form) {
    case SubBlockForm::kFull:
      return state + sizeof(float) + between;
    case SubBlockForm::kLinear:  // plain: the norm's output too, in both types
      return 2 * state + kBf16Bytes * static_cast<double>(config.hidden_size);
    case SubBlockForm::kNone:
      return 0;
  }
  throw BugError("unknown sub-block form");
}

// Queries, mixed heads, keys and values, and a sum for every query.
double KeptFused(const AttentionSpec& spec, const ModelConfig& config) {
  const int64_t queries = spec.is_full() ? QueryHeads(spec, config) : 0;
  const int64_t heads = 2 * (queries + spec.n_kv_heads);
  return KeptFused(spec,
                   kBf16Bytes * static_cast<double>(heads * config.head_dim) +
                       sizeof(float) * static_cast<double>(queries),
                   config);
}

// The gate and what it multiplies.
double KeptFused(const FfnSpec& spec, const ModelConfig& config) {
  return KeptFused(spec, kBf16Bytes * 2 * static_cast<double>(spec.size), config);
}

}  // namespace

int64_t CountNorm(const ModelConfig& config) {
  return (config.arch.norm == Architecture::Norm::kLayer ? 2 : 1) * config.hidden_size;
}

int64_t CountParameters(const AttentionSpec& spec, const ModelConfig& config) {
  return Count(spec, config.arch.o_bias || config.arch.qkv_bias, config);
}

int64_t CountParameters(const FfnSpec& spec, const ModelConfig& config) {
  return Count(spec, config.arch.ffn_bias, config);
}

int64_t CountLargestBlock(const ModelConfig& config) {
  int64_t largest = 0;
  for (const BlockSpec& block : config.blocks)
    largest = std::max(
        largest, CountParameters(block.attention, config) + CountParameters(block.ffn, config));
  return largest;
}

double KeptForGradients(const ModelConfig& config, int64_t tokens, bool fused) {
  double bytes = 0;  // of a token
  for (const BlockSpec& block : config.blocks) {
    bytes += fused ? KeptFused(block.attention, config) + KeptFused(block.ffn, config)
                   : KeptPlain(block, config);
  }
  return bytes * static_cast<double>(tokens);
}

}  // namespace puzzle::block
