#include "model/block/attention.h"

#include <cmath>

#include "model/block/score_scale.h"
#include "model/importance.h"
#include "model/pch.h"

namespace puzzle::block {

using at::Tensor;

AttentionWeights Outline(const AttentionSpec& spec, const ModelConfig& config) {
  AttentionWeights made;
  if (spec.form == SubBlockForm::kNone) return made;
  const Architecture& arch = config.arch;
  const int64_t d = config.hidden_size;
  const int64_t q = QueryHeads(spec, config) * config.head_dim,
                kv = spec.n_kv_heads * config.head_dim;
  made.norm = Shaped({d});
  made.norm_bias = ShapedIf(arch.norm == Architecture::Norm::kLayer, {d});
  if (spec.form == SubBlockForm::kLinear) {
    made.linear = Shaped({d, d});
    made.linear_bias = ShapedIf(arch.o_bias || arch.qkv_bias, {d});  // o_proj passes v's on
    return made;
  }
  made.q = Shaped({q, d});
  made.k = Shaped({kv, d});
  made.v = Shaped({kv, d});
  made.o = Shaped({d, q});
  made.q_bias = ShapedIf(arch.qkv_bias, {q});
  made.k_bias = ShapedIf(arch.qkv_bias, {kv});
  made.v_bias = ShapedIf(arch.qkv_bias, {kv});
  made.o_bias = ShapedIf(arch.o_bias, {d});
  made.q_norm = ShapedIf(arch.qk_norm, {config.head_dim});
  made.k_norm = ShapedIf(arch.qk_norm, {config.head_dim});
  made.post_norm = ShapedIf(arch.post_norms, {d});
  return made;
}

void Visit(AttentionWeights& weights, const SlotVisitor& visit) {
  visit("input_layernorm.weight", weights.norm);
  visit("input_layernorm.bias", weights.norm_bias);
  visit("self_attn.linear_attn.weight", weights.linear);
  visit("self_attn.linear_attn.bias", weights.linear_bias);
  visit("self_attn.q_proj.weight", weights.q);
  visit("self_attn.q_proj.bias", weights.q_bias);
  visit("self_attn.k_proj.weight", weights.k);
  visit("self_attn.k_proj.bias", weights.k_bias);
  visit("self_attn.v_proj.weight", weights.v);
  visit("self_attn.v_proj.bias", weights.v_bias);
  visit("self_attn.q_norm.weight", weights.q_norm);
  visit("self_attn.k_norm.weight", weights.k_norm);
  visit("self_attn.o_proj.weight", weights.o);
  visit("self_attn.o_proj.bias", weights.o_bias);
  visit("self_attn.post_norm.weight", weights.post_norm);
}

double ScoreScale(const ModelConfig& config) {
  const Architecture& arch = config.arch;
  if (!arch.scaled_attention) return 1.0;
  return 1.0 / std::sqrt(arch.query_scalar > 0 ? arch.query_scalar
                                               : static_cast<double>(config.head_dim));
}

Tensor Features(const AttentionWeights& weights, const AttentionSpec& spec,
                const Surroundings& around, const Tensor& x) {
  if (spec.form == SubBlockForm::kLinear) return x;
  const ModelConfig& config = around.config;
  const RotaryTable& rotary = around.rotary.For(spec);
  const int64_t batch = x.size(0), seq = x.size(1);
  auto heads = [&](const Tensor& matrix, const Tensor& bias, int64_t n) {
    return Linear(x, matrix, bias).to(at::kFloat).view({batch, seq, n, config.head_dim});
  };
  auto placed = [&](Tensor h, const Tensor& norm) {
    if (norm.defined()) h = RmsNorm(h, NormScale(norm, config), config.norm_eps);
    return rotary.defined() ? Rotate(h, rotary, around.first) : h;
  };
  const Tensor q =
      placed(heads(weights.q, weights.q_bias, QueryHeads(spec, config)), weights.q_norm);
  Tensor k = placed(heads(weights.k, weights.k_bias, spec.n_kv_heads), weights.k_norm);
  Tensor v = heads(weights.v, weights.v_bias, spec.n_kv_heads);
  if (around.cache != nullptr) std::tie(k, v) = around.cache->Append(k, v, spec.window);
  const AttentionScores scores{ScoreScale(config), config.arch.attention_cap};
  return CausalAttention(q, k, v, spec.window, scores).reshape({batch, seq, -1});
}

Tensor AttentionWeights::*OutputMatrix(const AttentionSpec& spec) {
  return spec.form == SubBlockForm::kLinear ? &AttentionWeights::linear : &AttentionWeights::o;
}

Tensor AttentionWeights::*OutputBias(const AttentionSpec& spec) {
  return spec.form == SubBlockForm::kLinear ? &AttentionWeights::linear_bias
                                            : &AttentionWeights::o_bias;
}

void FoldNorm(AttentionWeights& own, const ModelConfig& config) {
  FoldInto(own.norm, own.norm_bias, config, {&own.q, &own.k, &own.v, &own.linear});
}

namespace {

// What attention does when every position looks at itself only.
AttentionWeights InitLinear(const AttentionWeights& parent, const AttentionSpec& parent_spec,
                            const ModelConfig& config) {
  AttentionWeights made;
  made.norm = parent.norm;
  made.norm_bias = parent.norm_bias;
  if (parent_spec.form == SubBlockForm::kLinear) {
    made.linear = parent.linear;
    made.linear_bias = parent.linear_bias;
    return made;
  }
  const int64_t dim = config.head_dim, queries = QueryHeads(parent_spec, config);
  const int64_t group = queries / parent_spec.n_kv_heads;
  auto per_query_head = [&](const Tensor& rows) {
    return rows.view({parent_spec.n_kv_heads, dim, -1})
        .repeat_interleave(group, 0)
        .view({queries * dim, -1});
  };
  made.linear = at::mm(parent.o, per_query_head(parent.v));
  const Tensor v_bias =
      parent.v_bias.defined() ? per_query_head(parent.v_bias).squeeze(1) : Tensor();
  made.linear_bias = Sum(Through(parent.o, v_bias), parent.o_bias);
  return made;
}

// Keeps the best `n` kv heads with their query heads, in their order.
void PruneGroups(const AttentionSpec& parent_spec, int64_t n, const Tensor& scores,
                 AttentionWeights& made) {
  const int64_t groups = parent_spec.n_kv_heads;
  const Tensor best =
      scores.defined() ? MostImportantFirst(scores).narrow(0, 0, n) : at::arange(n, at::kLong);
  const Tensor kept = std::get<0>(best.sort()).to(made.q.device());
  auto prune = [&](Tensor& tensor, int64_t dimension) {
    if (!tensor.defined()) return;
    Shape shape = tensor.sizes().vec();
    shape[static_cast<size_t>(dimension)] = shape[static_cast<size_t>(dimension)] / groups * n;
    const Shape split = dimension == 0 ? Shape{groups, -1} : Shape{tensor.size(0), groups, -1};
    tensor = tensor.reshape(split).index_select(dimension, kept).reshape(shape);
  };
  for (Tensor* rows : {&made.q, &made.q_bias, &made.k, &made.k_bias, &made.v, &made.v_bias})
    prune(*rows, 0);
  prune(made.o, 1);
}

}  // namespace

AttentionWeights Init(const AttentionWeights& parent, const AttentionSpec& parent_spec,
                      const AttentionSpec& spec, const ModelConfig& config, KvMerge kv_merge,
                      const Tensor& head_scores) {
  if (spec.form == SubBlockForm::kNone) return {};
  if (spec.form == SubBlockForm::kLinear) return InitLinear(parent, parent_spec, config);
  AttentionWeights made = parent;
  if (spec.n_kv_heads == parent_spec.n_kv_heads) return made;
  if (spec.n_query_heads != parent_spec.n_query_heads) {
    PruneGroups(parent_spec, spec.n_kv_heads, head_scores, made);
    return made;
  }
  const int64_t run = parent_spec.n_kv_heads / spec.n_kv_heads;
  for (Tensor* heads : {&made.k, &made.v, &made.k_bias, &made.v_bias}) {
    if (!heads->defined()) continue;
    Shape shape = heads->sizes().vec();
    shape[0] /= run;
    const Tensor runs = heads->view({spec.n_kv_heads, run, config.head_dim, -1});
    *heads = (kv_merge == KvMerge::kFirst ? runs.select(1, 0) : runs.mean(1)).reshape(shape);
  }
  return made;
}

}  // namespace puzzle::block
