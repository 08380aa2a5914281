#include "model/surgery.h"

#include "io/error.h"
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
  const int64_t dim = config.head_dim, group = config.n_heads / parent_spec.n_kv_heads;
  auto per_query_head = [&](const Tensor& rows) {
    return rows.view({parent_spec.n_kv_heads, dim, -1})
        .repeat_interleave(group, 0)
        .view({config.n_heads * dim, -1});
  };
  made.linear = at::mm(parent.o, per_query_head(parent.v));
  const Tensor v_bias =
      parent.v_bias.defined() ? per_query_head(parent.v_bias).squeeze(1) : Tensor();
  if (config.arch.o_bias) made.linear_bias = Sum(Through(parent.o, v_bias), parent.o_bias);
}

AttentionWeights InitAttention(const AttentionWeights& parent, const AttentionSpec& parent_spec,
                               const AttentionSpec& spec, const ModelConfig& config,
                               KvMerge kv_merge) {
  AttentionWeights made = parent;
  if (spec.form == SubBlockForm::kLinear) {
    made = {};
    made.norm = parent.norm;
    made.norm_bias = parent.norm_bias;
    MakeLinear(parent, parent_spec, config, made);
    return made;
  }
  if (spec.n_kv_heads == parent_spec.n_kv_heads) return made;
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
  const at::NoGradGuard no_grad;
  const auto index = static_cast<size_t>(layer);
  const BlockWeights& block = parent.blocks.at(index);
  const BlockSpec& parent_spec = parent.config.blocks[index];
  SubBlockWeights made;
  if (const auto* attention = std::get_if<AttentionSpec>(&spec)) {
    made = attention->form == SubBlockForm::kNone
               ? AttentionWeights{}
               : InitAttention(block.attention, parent_spec.attention, *attention, parent.config,
                               hints.kv_merge);
  } else {
    const auto& ffn = std::get<FfnSpec>(spec);
    made = ffn.form == SubBlockForm::kNone
               ? FfnWeights{}
               : InitFfn(block.ffn, parent_spec.ffn, ffn, hints.sorted_ffn);
  }
  return Clone(made, spec);
}

}  // namespace puzzle
