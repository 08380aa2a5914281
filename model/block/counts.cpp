#include "model/block/counts.h"

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

double KeptForGradients(const ModelConfig& config, int64_t tokens) {
  double values = 0;  // of a token
  for (const BlockSpec& block : config.blocks) {
    values += 12 * static_cast<double>(config.hidden_size);
    if (block.ffn.is_full()) values += 4 * static_cast<double>(block.ffn.size);
  }
  return sizeof(float) * values * static_cast<double>(tokens);
}

}  // namespace puzzle::block
