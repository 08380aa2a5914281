#include "model/transformer.h"

#include <algorithm>

#include <fmt/format.h>

#include "io/error.h"
#include "model/pch.h"

namespace puzzle {

using at::Tensor;

namespace {

// The heads' mixture, [batch, seq, heads * head_dim]; `x` is behind the norm.
Tensor MixHeads(const AttentionWeights& weights, const AttentionSpec& spec,
                const ModelConfig& config, const RotaryTable& rotary, const Tensor& x,
                KvCache::Layer* cache, int64_t first) {
  const int64_t batch = x.size(0), seq = x.size(1);
  auto heads = [&](const Tensor& matrix, int64_t n) {
    return at::linear(x, matrix).view({batch, seq, n, config.head_dim});
  };
  const Tensor q = Rotate(heads(weights.q, config.n_heads), rotary, first);
  Tensor k = Rotate(heads(weights.k, spec.n_kv_heads), rotary, first);
  Tensor v = heads(weights.v, spec.n_kv_heads);
  if (cache != nullptr) {
    if (cache->k.defined()) {
      k = at::cat({cache->k, k}, 1);
      v = at::cat({cache->v, v}, 1);
    }
    cache->k = k;
    cache->v = v;
  }
  return CausalAttention(q, k, v).reshape({batch, seq, -1});
}

Tensor GateChannels(const FfnWeights& weights, const Tensor& x) {
  return SwiGlu(at::linear(x, weights.gate), at::linear(x, weights.up));
}

}  // namespace

Transformer::Transformer(ModelWeights weights, int64_t positions) : weights_(std::move(weights)) {
  const ModelConfig& config = weights_.config;
  if (positions == 0) positions = config.max_positions;
  rotary_ = MakeRotaryTable(config.rope, config.head_dim, positions, weights_.embedding.device());
}

Tensor Transformer::Embed(const Tensor& ids) const {
  return at::embedding(weights_.embedding, ids);
}

Tensor Transformer::Blocks(Tensor x, int64_t first, int64_t last, KvCache* cache) const {
  const ModelConfig& config = weights_.config;
  if (cache != nullptr) cache->layers.resize(static_cast<size_t>(config.n_layers()));
  for (int64_t i = first; i < last; ++i) {
    const auto index = static_cast<size_t>(i);
    const BlockSpec& spec = config.blocks[index];
    const BlockWeights& block = weights_.blocks[index];
    auto normed = [&](const Tensor& weight) { return RmsNorm(x, weight, config.rms_norm_eps); };
    if (spec.attention.form == SubBlockForm::kLinear) {
      x = x + at::linear(normed(block.attention.norm), block.attention.linear);
    } else if (spec.attention.form == SubBlockForm::kFull) {
      const Tensor mixed =
          MixHeads(block.attention, spec.attention, config, rotary_, normed(block.attention.norm),
                   cache != nullptr ? &cache->layers[index] : nullptr,
                   cache != nullptr ? cache->positions : 0);
      x = x + at::linear(mixed, block.attention.o);
    }
    if (spec.ffn.form == SubBlockForm::kLinear) {
      x = x + at::linear(normed(block.ffn.norm), block.ffn.linear);
    } else if (spec.ffn.form == SubBlockForm::kFull) {
      x = x + at::linear(GateChannels(block.ffn, normed(block.ffn.norm)), block.ffn.down);
    }
  }
  return x;
}

Tensor Transformer::FinalNorm(const Tensor& x) const {
  return RmsNorm(x, weights_.norm, weights_.config.rms_norm_eps);
}

Tensor Transformer::Logits(const Tensor& ids, KvCache* cache) const {
  const Tensor x = Blocks(Embed(ids), 0, config().n_layers(), cache);
  if (cache != nullptr) cache->positions += ids.size(1);
  return at::linear(FinalNorm(x), weights_.HeadMatrix());
}

Tensor Features(const SubBlockWeights& weights, const VariantSpec& spec, const ModelConfig& config,
                const RotaryTable& rotary, const Tensor& normalized) {
  if (const auto* attention = std::get_if<AttentionSpec>(&spec)) {
    const auto& own = std::get<AttentionWeights>(weights);
    const Tensor x = normalized * own.norm;
    return attention->form == SubBlockForm::kLinear
               ? x
               : MixHeads(own, *attention, config, rotary, x, nullptr, 0);
  }
  const auto& own = std::get<FfnWeights>(weights);
  const Tensor x = normalized * own.norm;
  return std::get<FfnSpec>(spec).form == SubBlockForm::kLinear ? x : GateChannels(own, x);
}

Tensor& OutputMatrix(SubBlockWeights& weights, const VariantSpec& spec) {
  return *Slots(weights, spec).back().second;
}

Tensor SubBlockOutput(const SubBlockWeights& weights, const VariantSpec& spec,
                      const ModelConfig& config, const RotaryTable& rotary,
                      const Tensor& normalized) {
  SubBlockWeights handles = weights;
  if (Slots(handles, spec).empty()) return {};
  return at::linear(Features(weights, spec, config, rotary, normalized),
                    OutputMatrix(handles, spec));
}

Tensor ApplySubBlock(const SubBlockWeights& weights, const VariantSpec& spec,
                     const ModelConfig& config, const RotaryTable& rotary, const Tensor& x) {
  const Tensor out =
      SubBlockOutput(weights, spec, config, rotary, NormalizeRms(x, config.rms_norm_eps));
  return out.defined() ? x + out : x;
}

std::vector<int32_t> Generate(const Transformer& model, std::span<const int32_t> prompt,
                              int64_t count, const Sampling& sampling) {
  const at::NoGradGuard no_grad;
  const ModelConfig& config = model.config();
  if (prompt.empty()) throw Error("generation needs at least one prompt token (a BOS, say)");
  if (static_cast<int64_t>(prompt.size()) > config.max_positions)
    throw Error(fmt::format("the prompt has {} tokens, the model {} positions", prompt.size(),
                            config.max_positions));
  auto generator = at::make_generator<at::CPUGeneratorImpl>(sampling.seed);
  const at::Device device = model.weights().embedding.device();
  std::vector<int64_t> step(prompt.begin(), prompt.end());
  std::vector<int32_t> result;
  KvCache cache;
  while (static_cast<int64_t>(result.size()) < count &&
         cache.positions + static_cast<int64_t>(step.size()) <= config.max_positions) {
    const Tensor ids = at::tensor(at::ArrayRef<int64_t>(step), at::kLong).unsqueeze(0).to(device);
    Tensor logits = model.Logits(ids, &cache)[0][-1].to(at::kCPU);
    int64_t next = 0;
    if (sampling.temperature <= 0) {
      next = logits.argmax().item<int64_t>();
    } else {
      logits = logits / sampling.temperature;
      if (sampling.top_k > 0 && sampling.top_k < logits.size(0)) {
        const Tensor kept = std::get<0>(logits.topk(sampling.top_k))[-1];
        logits = logits.masked_fill(logits < kept, -std::numeric_limits<float>::infinity());
      }
      next = at::multinomial(logits.softmax(0), 1, false, generator).item<int64_t>();
    }
    result.push_back(static_cast<int32_t>(next));
    const bool ended = result.back() == config.bos_id ||
                       std::find(config.eos_ids.begin(), config.eos_ids.end(), result.back()) !=
                           config.eos_ids.end();
    if (ended) break;
    step = {next};
  }
  return result;
}

}  // namespace puzzle
