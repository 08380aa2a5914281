#include "model/transformer.h"

#include <algorithm>

#include <fmt/format.h>

#include "io/error.h"
#include "model/block/attention.h"
#include "model/block/ffn.h"
#include "model/pch.h"

namespace puzzle {

using at::Tensor;

namespace {

// What the last matrix and bias make of the features; `x` is behind the norm.
template <class Weights, class Spec>
Tensor BeforePostNorm(const Weights& weights, const Spec& spec, const block::Surroundings& around,
                      const Tensor& x) {
  return block::Linear(block::Features(weights, spec, around, x),
                       weights.*block::OutputMatrix(spec), weights.*block::OutputBias(spec));
}

// What a sub-block adds to the residual.
template <class Weights, class Spec>
Tensor Answer(const Weights& weights, const Spec& spec, const block::Surroundings& around,
              const Tensor& x) {
  const Tensor answer = BeforePostNorm(weights, spec, around, x);
  if (!weights.post_norm.defined()) return answer;
  return RmsNorm(answer.to(at::kFloat), NormScale(weights.post_norm, around.config),
                 around.config.norm_eps);
}

}  // namespace

Transformer::Transformer(ModelWeights weights, int64_t positions) : weights_(std::move(weights)) {
  const ModelConfig& config = weights_.config;
  if (positions == 0) positions = config.max_positions;
  rotary_ = RotaryTable(config, positions, weights_.norm.device());
}

Transformer Transformer::WithProductsIn(at::ScalarType type) const {
  Transformer cast = *this;
  for (int64_t i = 0; i < config().n_layers(); ++i) {
    const VariantSpec spec = ParentVariant(config(), i, SubBlock::kBoth);
    cast.weights_.blocks[static_cast<size_t>(i)] = std::get<BlockWeights>(
        puzzle::WithProductsIn(type, SubBlockOf(weights_, i, SubBlock::kBoth), spec));
  }
  return cast;
}

Tensor Transformer::Embed(const Tensor& ids, int64_t first) const {
  Tensor tokens = at::embedding(weights_.embedding, ids);
  if (config().arch.embedding_scale != 1) tokens = tokens * config().arch.embedding_scale;
  if (!weights_.positions.defined()) return tokens;
  const int64_t row = first + config().arch.position_offset;
  if (row + ids.size(1) > weights_.positions.size(0))
    throw Error(fmt::format("a sequence of {} tokens: the model has {} positions",
                            first + ids.size(1), config().max_positions));
  return tokens + weights_.positions.narrow(0, row, ids.size(1));
}

Tensor Transformer::Blocks(Tensor x, int64_t first, int64_t last, KvCache* cache) const {
  const ModelConfig& config = weights_.config;
  PUZZLE_CHECK(cache == nullptr || std::ssize(cache->layers) == config.n_layers(),
               "a cache for another number of blocks");
  for (int64_t i = first; i < last; ++i) {
    const auto index = static_cast<size_t>(i);
    const block::Surroundings around{config, rotary_,
                                     cache != nullptr ? &cache->layers[index] : nullptr,
                                     cache != nullptr ? cache->positions : 0};
    const auto apply = [&](const auto& weights, const auto& spec) {
      if (IsNone(spec)) return;
      x = x + Answer(weights, spec, around, Norm(x, weights.norm, weights.norm_bias, config));
    };
    apply(weights_.blocks[index].attention, config.blocks[index].attention);
    apply(weights_.blocks[index].ffn, config.blocks[index].ffn);
  }
  return x;
}

Tensor Transformer::FinalNorm(const Tensor& x) const {
  return Norm(x, weights_.norm, weights_.norm_bias, config());
}

namespace {
// The states behind the last block, which the cache remembers.
Tensor LastStates(const Transformer& model, const Tensor& ids, KvCache* cache) {
  const int64_t first = cache != nullptr ? cache->positions : 0;
  const RopeConfig& rope = model.config().rope;
  PUZZLE_CHECK(first == 0 || rope.IsLong(first) == rope.IsLong(first + ids.size(1)),
               "the keys in the cache were rotated for a shorter sequence");
  const Tensor x = model.Blocks(model.Embed(ids, first), 0, model.config().n_layers(), cache);
  if (cache != nullptr) cache->positions += ids.size(1);
  return x;
}

// The head's answer to states behind the last block.
Tensor LogitsOf(const Transformer& model, const Tensor& x) {
  const Tensor logits = block::Linear(model.FinalNorm(x), model.weights().HeadMatrix(), {});
  const double cap = model.config().arch.logit_cap;
  return cap > 0 ? (logits / cap).tanh() * cap : logits;
}

}  // namespace

Tensor Transformer::Logits(const Tensor& ids, KvCache* cache) const {
  return LogitsOf(*this, LastStates(*this, ids, cache));
}

namespace {

// What the norm makes of a normalized state; FoldNorm leaves nothing to do.
Tensor BehindNorm(const auto& weights, const ModelConfig& config, const Tensor& normalized) {
  if (!weights.norm.defined()) return normalized;
  return weights.norm_bias.defined() ? at::addcmul(weights.norm_bias, normalized, weights.norm)
                                     : normalized * NormScale(weights.norm, config);
}

// `use` gets weights and spec of the one sub-block, each of its own type.
auto WithSubBlock(auto& weights, const VariantSpec& spec, const auto& use) {
  if (const auto* attention = std::get_if<AttentionSpec>(&spec))
    return use(std::get<AttentionWeights>(weights), *attention);
  return use(std::get<FfnWeights>(weights), std::get<FfnSpec>(spec));
}

}  // namespace

Tensor Features(const SubBlockWeights& weights, const VariantSpec& spec, const ModelConfig& config,
                const RotaryTable& rotary, const Tensor& normalized) {
  return WithSubBlock(weights, spec, [&](const auto& own, const auto& own_spec) {
    return block::Features(own, own_spec, {config, rotary}, BehindNorm(own, config, normalized));
  });
}

Tensor& OutputMatrix(SubBlockWeights& weights, const VariantSpec& spec) {
  return *WithSubBlock(weights, spec, [](auto& own, const auto& own_spec) {
    return &(own.*block::OutputMatrix(own_spec));
  });
}

Tensor OutputBias(const SubBlockWeights& weights, const VariantSpec& spec) {
  return WithSubBlock(weights, spec, [](const auto& own, const auto& own_spec) {
    return own.*block::OutputBias(own_spec);
  });
}

bool HasPostNorm(const SubBlockWeights& weights, const VariantSpec& spec) {
  return WithSubBlock(weights, spec,
                      [](const auto& own, const auto&) { return own.post_norm.defined(); });
}

Tensor OutputBeforePostNorm(const SubBlockWeights& weights, const VariantSpec& spec,
                            const ModelConfig& config, const RotaryTable& rotary,
                            const Tensor& normalized) {
  return WithSubBlock(weights, spec, [&](const auto& own, const auto& own_spec) {
    return BeforePostNorm(own, own_spec, {config, rotary}, BehindNorm(own, config, normalized));
  });
}

Tensor InputOf(const VariantSpec& spec, const ModelConfig& config, const Tensor& x) {
  return WhichSubBlock(spec) == SubBlock::kBoth ? x : Normalize(x, config);
}

namespace {

// The residual stays fp32, whatever the type of input and matrices.
Tensor BlockOutput(const BlockWeights& weights, const BlockSpec& spec, const ModelConfig& config,
                   const RotaryTable& rotary, const Tensor& input) {
  const Tensor x = input.to(at::kFloat);
  Tensor added;
  if (!IsNone(spec.attention))
    added = SubBlockOutput(weights.attention, spec.attention, config, rotary, Normalize(x, config))
                .to(at::kFloat);
  if (IsNone(spec.ffn)) return added;
  const Tensor behind = Normalize(added.defined() ? x + added : x, config);
  const Tensor ffn = SubBlockOutput(weights.ffn, spec.ffn, config, rotary, behind).to(at::kFloat);
  return added.defined() ? added + ffn : ffn;
}

}  // namespace

Tensor SubBlockOutput(const SubBlockWeights& weights, const VariantSpec& spec,
                      const ModelConfig& config, const RotaryTable& rotary, const Tensor& input) {
  if (IsNone(spec)) return {};
  if (const auto* block = std::get_if<BlockSpec>(&spec))
    return BlockOutput(std::get<BlockWeights>(weights), *block, config, rotary, input);
  return WithSubBlock(weights, spec, [&](const auto& own, const auto& own_spec) {
    return Answer(own, own_spec, {config, rotary}, BehindNorm(own, config, input));
  });
}

Tensor ApplySubBlock(const SubBlockWeights& weights, const VariantSpec& spec,
                     const ModelConfig& config, const RotaryTable& rotary, const Tensor& x) {
  const Tensor out = SubBlockOutput(weights, spec, config, rotary, InputOf(spec, config, x));
  return out.defined() ? x + out : x;
}

SubBlockWeights WithProductsIn(at::ScalarType type, const SubBlockWeights& weights,
                               const VariantSpec& spec) {
  SubBlockWeights cast = weights;
  for (const auto& [name, slot] : Slots(cast, spec))
    if (slot->dim() == 2) *slot = slot->to(type);
  return cast;
}

SubBlockWeights FoldNorm(const SubBlockWeights& weights, const ModelConfig& config) {
  SubBlockWeights folded = weights;
  if (auto* both = std::get_if<BlockWeights>(&folded)) {
    block::FoldNorm(both->attention, config);
    block::FoldNorm(both->ffn, config);
  } else if (auto* attention = std::get_if<AttentionWeights>(&folded)) {
    block::FoldNorm(*attention, config);
  } else {
    block::FoldNorm(std::get<FfnWeights>(folded), config);
  }
  return folded;
}

namespace {

// The last position's logits alone: [batch, vocab].
Tensor NextLogits(const Transformer& model, const Tensor& ids, KvCache& cache) {
  return LogitsOf(model, LastStates(model, ids, &cache).select(1, ids.size(1) - 1));
}

}  // namespace

std::vector<int32_t> Generate(const Transformer& model, std::span<const int32_t> prompt,
                              int64_t count, const Sampling& sampling) {
  const at::NoGradGuard no_grad;
  const ModelConfig& config = model.config();
  if (prompt.empty()) throw Error("generation needs at least one prompt token (a BOS, say)");
  if (static_cast<int64_t>(prompt.size()) > config.max_positions)
    throw Error(fmt::format("the prompt has {} tokens, the model {} positions", prompt.size(),
                            config.max_positions));
  CheckPromptIds(prompt, config);
  auto generator = at::make_generator<at::CPUGeneratorImpl>(sampling.seed);
  const at::Device device = model.weights().embedding.device();
  std::vector<int64_t> step(prompt.begin(), prompt.end());
  std::vector<int32_t> result;
  const auto new_cache = [&] {
    return KvCache(config.n_layers(), std::min(std::ssize(prompt) + count, config.max_positions));
  };
  KvCache cache = new_cache();
  while (static_cast<int64_t>(result.size()) < count &&
         cache.positions + static_cast<int64_t>(step.size()) <= config.max_positions) {
    const Tensor ids = at::tensor(at::ArrayRef<int64_t>(step), at::kLong).unsqueeze(0).to(device);
    Tensor logits = NextLogits(model, ids, cache)[0].to(at::kCPU);
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
    if (config.rope.IsLong(cache.positions + 1) && !config.rope.IsLong(cache.positions)) {
      // From here on all positions turn at other frequencies.
      step.assign(prompt.begin(), prompt.end());
      step.insert(step.end(), result.begin(), result.end());
      cache = new_cache();
    }
  }
  return result;
}

}  // namespace puzzle
