#include "model/transformer.h"

#include <algorithm>

#include <fmt/format.h>

#include "io/error.h"
#include "model/pch.h"

namespace puzzle {

using at::Tensor;

namespace {

// In the matrix's type; `bias` may be undefined.
Tensor Linear(const Tensor& x, const Tensor& matrix, const Tensor& bias) {
  const auto type = matrix.scalar_type();
  return bias.defined() ? at::linear(x.to(type), matrix, bias.to(type))
                        : at::linear(x.to(type), matrix);
}

// The heads' mixture, [batch, seq, heads * head_dim]; `x` is behind the norm. Rotation and
// attention are computed in fp32, whatever the type of the matrices.
Tensor MixHeads(const AttentionWeights& weights, const AttentionSpec& spec,
                const ModelConfig& config, const RotaryTable& rotary, const Tensor& x,
                LayerCache* cache, int64_t first) {
  const int64_t batch = x.size(0), seq = x.size(1);
  auto heads = [&](const Tensor& matrix, const Tensor& bias, int64_t n) {
    return Linear(x, matrix, bias).to(at::kFloat).view({batch, seq, n, config.head_dim});
  };
  auto placed = [&](Tensor h, const Tensor& norm) {
    if (norm.defined()) h = RmsNorm(h, norm, config.norm_eps);
    return rotary.defined() ? Rotate(h, rotary, first) : h;
  };
  const Tensor q =
      placed(heads(weights.q, weights.q_bias, QueryHeads(spec, config)), weights.q_norm);
  Tensor k = placed(heads(weights.k, weights.k_bias, spec.n_kv_heads), weights.k_norm);
  Tensor v = heads(weights.v, weights.v_bias, spec.n_kv_heads);
  if (cache != nullptr) std::tie(k, v) = cache->Append(k, v, spec.window);
  const double scale = config.arch.scaled_attention ? 0.0 : 1.0;  // 0: the usual one
  return CausalAttention(q, k, v, spec.window, scale).reshape({batch, seq, -1});
}

// The channels between the FFN's matrices, [batch, seq, size].
Tensor Channels(const FfnWeights& weights, const ModelConfig& config, const Tensor& x) {
  const Tensor up = Linear(x, weights.up, weights.up_bias);
  if (!config.arch.gated_ffn) return Activate(up, config.arch.activation);
  return SwiGlu(Linear(x, weights.gate, weights.gate_bias), up);
}

}  // namespace

Transformer::Transformer(ModelWeights weights, int64_t positions) : weights_(std::move(weights)) {
  const ModelConfig& config = weights_.config;
  if (positions == 0) positions = config.max_positions;
  if (config.arch.positions == Architecture::Positions::kRotary)
    rotary_ = RotaryTable(config.rope, config.head_dim, positions, weights_.embedding.device());
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
  const Tensor tokens = at::embedding(weights_.embedding, ids);
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
    const BlockSpec& spec = config.blocks[index];
    const AttentionWeights& attention = weights_.blocks[index].attention;
    const FfnWeights& ffn = weights_.blocks[index].ffn;
    auto normed = [&](const auto& w) { return Norm(x, w.norm, w.norm_bias, config); };
    if (spec.attention.form == SubBlockForm::kLinear) {
      x = x + Linear(normed(attention), attention.linear, attention.linear_bias);
    } else if (spec.attention.form == SubBlockForm::kFull) {
      const Tensor mixed = MixHeads(attention, spec.attention, config, rotary_, normed(attention),
                                    cache != nullptr ? &cache->layers[index] : nullptr,
                                    cache != nullptr ? cache->positions : 0);
      x = x + Linear(mixed, attention.o, attention.o_bias);
    }
    if (spec.ffn.form == SubBlockForm::kLinear) {
      x = x + Linear(normed(ffn), ffn.linear, ffn.linear_bias);
    } else if (spec.ffn.form == SubBlockForm::kFull) {
      x = x + Linear(Channels(ffn, config, normed(ffn)), ffn.down, ffn.down_bias);
    }
  }
  return x;
}

Tensor Transformer::FinalNorm(const Tensor& x) const {
  return Norm(x, weights_.norm, weights_.norm_bias, config());
}

Tensor Transformer::Logits(const Tensor& ids, KvCache* cache) const {
  const int64_t first = cache != nullptr ? cache->positions : 0;
  const RopeConfig& rope = config().rope;
  PUZZLE_CHECK(first == 0 || rope.IsLong(first) == rope.IsLong(first + ids.size(1)),
               "the keys in the cache were rotated for a shorter sequence");
  const Tensor x = Blocks(Embed(ids, first), 0, config().n_layers(), cache);
  if (cache != nullptr) cache->positions += ids.size(1);
  return at::linear(FinalNorm(x), weights_.HeadMatrix());
}

Tensor Features(const SubBlockWeights& weights, const VariantSpec& spec, const ModelConfig& config,
                const RotaryTable& rotary, const Tensor& normalized) {
  auto scaled = [&](const auto& w) {
    if (!w.norm.defined()) return normalized;  // FoldNorm
    return w.norm_bias.defined() ? at::addcmul(w.norm_bias, normalized, w.norm)
                                 : normalized * w.norm;
  };
  if (const auto* attention = std::get_if<AttentionSpec>(&spec)) {
    const auto& own = std::get<AttentionWeights>(weights);
    const Tensor x = scaled(own);
    return attention->form == SubBlockForm::kLinear
               ? x
               : MixHeads(own, *attention, config, rotary, x, nullptr, 0);
  }
  const auto& own = std::get<FfnWeights>(weights);
  const Tensor x = scaled(own);
  return std::get<FfnSpec>(spec).form == SubBlockForm::kLinear ? x : Channels(own, config, x);
}

Tensor& OutputMatrix(SubBlockWeights& weights, const VariantSpec& spec) {
  if (const auto* attention = std::get_if<AttentionSpec>(&spec)) {
    auto& own = std::get<AttentionWeights>(weights);
    return attention->form == SubBlockForm::kLinear ? own.linear : own.o;
  }
  auto& own = std::get<FfnWeights>(weights);
  return std::get<FfnSpec>(spec).form == SubBlockForm::kLinear ? own.linear : own.down;
}

const Tensor& OutputBias(const SubBlockWeights& weights, const VariantSpec& spec) {
  if (const auto* attention = std::get_if<AttentionSpec>(&spec)) {
    const auto& own = std::get<AttentionWeights>(weights);
    return attention->form == SubBlockForm::kLinear ? own.linear_bias : own.o_bias;
  }
  const auto& own = std::get<FfnWeights>(weights);
  return std::get<FfnSpec>(spec).form == SubBlockForm::kLinear ? own.linear_bias : own.down_bias;
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
  SubBlockWeights handles = weights;
  return Linear(Features(weights, spec, config, rotary, input), OutputMatrix(handles, spec),
                OutputBias(weights, spec));
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

namespace {

void FoldInto(Tensor& norm, const Tensor& norm_bias, std::initializer_list<Tensor*> matrices) {
  if (norm_bias.defined()) return;  // folded, it would be a bias of matrices that have none
  for (Tensor* matrix : matrices)
    if (matrix->defined()) *matrix = *matrix * norm;
  norm = Tensor();
}

void Fold(AttentionWeights& own) {
  FoldInto(own.norm, own.norm_bias, {&own.q, &own.k, &own.v, &own.linear});
}

void Fold(FfnWeights& own) {
  FoldInto(own.norm, own.norm_bias, {&own.gate, &own.up, &own.linear});
}

void Fold(BlockWeights& own) {
  Fold(own.attention);
  Fold(own.ffn);
}

}  // namespace

SubBlockWeights FoldNorm(const SubBlockWeights& weights) {
  SubBlockWeights folded = weights;
  std::visit([](auto& own) { Fold(own); }, folded);
  return folded;
}

std::vector<int32_t> Generate(const Transformer& model, std::span<const int32_t> prompt,
                              int64_t count, const Sampling& sampling) {
  const at::NoGradGuard no_grad;
  const ModelConfig& config = model.config();
  if (prompt.empty()) throw Error("generation needs at least one prompt token (a BOS, say)");
  if (static_cast<int64_t>(prompt.size()) > config.max_positions)
    throw Error(fmt::format("the prompt has {} tokens, the model {} positions", prompt.size(),
                            config.max_positions));
  for (const int32_t id : prompt)
    if (id < 0 || id >= config.vocab_size)
      throw Error(fmt::format("token id {} of the prompt is outside the model's vocabulary of {}",
                              id, config.vocab_size));
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
