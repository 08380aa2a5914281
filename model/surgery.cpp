#include "model/surgery.h"

#include "io/error.h"
#include "model/importance.h"
#include "model/pch.h"

namespace puzzle {

using at::Tensor;

namespace {

Tensor Sum(const Tensor& a, const Tensor& b) {
  return !a.defined() ? b : !b.defined() ? a : a + b;
}

// W b, undefined when b is.
Tensor Through(const Tensor& matrix, const Tensor& bias) {
  return bias.defined() ? at::mv(matrix, bias) : Tensor();
}

// What attention does when every position looks at itself only.
void MakeLinear(const AttentionWeights& parent, const AttentionSpec& parent_spec,
                const ModelConfig& config, AttentionWeights& made) {
  if (parent_spec.form == SubBlockForm::kLinear) {
    made.linear = parent.linear;
    made.linear_bias = parent.linear_bias;
    return;
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

AttentionWeights InitAttention(const AttentionWeights& parent, const AttentionSpec& parent_spec,
                               const AttentionSpec& spec, const ModelConfig& config,
                               const SurgeryHints& hints) {
  AttentionWeights made = parent;
  if (spec.form == SubBlockForm::kLinear) {
    made = {};
    made.norm = parent.norm;
    made.norm_bias = parent.norm_bias;
    MakeLinear(parent, parent_spec, config, made);
    return made;
  }
  if (spec.n_kv_heads == parent_spec.n_kv_heads) return made;
  if (spec.n_query_heads != parent_spec.n_query_heads) {
    PruneGroups(parent_spec, spec.n_kv_heads, hints.head_scores, made);
    return made;
  }
  const int64_t run = parent_spec.n_kv_heads / spec.n_kv_heads;
  for (Tensor* heads : {&made.k, &made.v, &made.k_bias, &made.v_bias}) {
    if (!heads->defined()) continue;
    Shape shape = heads->sizes().vec();
    shape[0] /= run;
    const Tensor runs = heads->view({spec.n_kv_heads, run, config.head_dim, -1});
    *heads = (hints.kv_merge == KvMerge::kFirst ? runs.select(1, 0) : runs.mean(1)).reshape(shape);
  }
  return made;
}

FfnWeights InitFfn(const FfnWeights& parent, const FfnSpec& parent_spec, const FfnSpec& spec,
                   const FfnWeights& sorted) {
  FfnWeights made = parent;
  if (spec.form == SubBlockForm::kLinear) {
    if (parent_spec.form == SubBlockForm::kLinear) return made;
    made = {};
    made.norm = parent.norm;
    made.norm_bias = parent.norm_bias;
    made.linear = at::mm(parent.down, parent.up);
    made.linear_bias = Sum(Through(parent.down, parent.up_bias), parent.down_bias);
    return made;
  }
  if (spec.size == parent_spec.size) return made;
  if (sorted.down.defined()) made = sorted;
  for (Tensor* rows : {&made.gate, &made.gate_bias, &made.up, &made.up_bias})
    if (rows->defined()) *rows = rows->narrow(0, 0, spec.size);
  made.down = made.down.narrow(1, 0, spec.size);
  return made;
}

}  // namespace

FfnWeights SortChannels(const FfnWeights& ffn, const Tensor& order) {
  const at::NoGradGuard no_grad;
  FfnWeights sorted = ffn;
  for (Tensor* rows : {&sorted.gate, &sorted.gate_bias, &sorted.up, &sorted.up_bias})
    if (rows->defined()) *rows = rows->index_select(0, order);
  sorted.down = ffn.down.index_select(1, order);
  return sorted;
}

SubBlockWeights InitVariant(const ModelWeights& parent, int64_t layer, const VariantSpec& spec,
                            const SurgeryHints& hints) {
  if (const auto* both = std::get_if<BlockSpec>(&spec)) {
    return BlockWeights{
        std::get<AttentionWeights>(InitVariant(parent, layer, both->attention, hints)),
        std::get<FfnWeights>(InitVariant(parent, layer, both->ffn, hints))};
  }
  const at::NoGradGuard no_grad;
  const auto index = static_cast<size_t>(layer);
  const BlockWeights& block = parent.blocks.at(index);
  const BlockSpec& parent_spec = parent.config.blocks[index];
  SubBlockWeights made;
  if (const auto* attention = std::get_if<AttentionSpec>(&spec)) {
    made = attention->form == SubBlockForm::kNone
               ? AttentionWeights{}
               : InitAttention(block.attention, parent_spec.attention, *attention, parent.config,
                               hints);
  } else {
    const auto& ffn = std::get<FfnSpec>(spec);
    made = ffn.form == SubBlockForm::kNone
               ? FfnWeights{}
               : InitFfn(block.ffn, parent_spec.ffn, ffn, hints.sorted_ffn);
  }
  return Clone(made, spec);
}

}  // namespace puzzle
