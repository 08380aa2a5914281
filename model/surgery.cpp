#include "model/surgery.h"

#include "io/error.h"
#include "model/pch.h"

namespace puzzle {

using at::Tensor;

namespace {

AttentionWeights InitAttention(const AttentionWeights& parent, const AttentionSpec& parent_spec,
                               const AttentionSpec& spec, const ModelConfig& config) {
  AttentionWeights made;
  made.norm = parent.norm;
  const int64_t dim = config.head_dim;
  if (spec.form == SubBlockForm::kLinear) {
    if (parent_spec.form == SubBlockForm::kLinear) {
      made.linear = parent.linear;
      return made;
    }
    // What attention does when every position looks at itself only.
    const int64_t group = config.n_heads / parent_spec.n_kv_heads;
    const Tensor v = parent.v.view({parent_spec.n_kv_heads, dim, -1})
                         .repeat_interleave(group, 0)
                         .view({config.n_heads * dim, -1});
    made.linear = at::mm(parent.o, v);
    return made;
  }
  made.q = parent.q;
  made.o = parent.o;
  auto average = [&](const Tensor& heads) {
    if (spec.n_kv_heads == parent_spec.n_kv_heads) return heads;
    const int64_t run = parent_spec.n_kv_heads / spec.n_kv_heads;
    return heads.view({spec.n_kv_heads, run, dim, -1}).mean(1).view({spec.n_kv_heads * dim, -1});
  };
  made.k = average(parent.k);
  made.v = average(parent.v);
  return made;
}

FfnWeights InitFfn(const FfnWeights& parent, const FfnSpec& parent_spec, const FfnSpec& spec,
                   const Tensor& channel_order) {
  FfnWeights made;
  made.norm = parent.norm;
  if (spec.form == SubBlockForm::kLinear) {
    made.linear =
        parent_spec.form == SubBlockForm::kLinear ? parent.linear : at::mm(parent.down, parent.up);
    return made;
  }
  if (spec.size == parent_spec.size) {
    made.gate = parent.gate;
    made.up = parent.up;
    made.down = parent.down;
    return made;
  }
  const Tensor kept = channel_order.defined()
                          ? std::get<0>(channel_order.narrow(0, 0, spec.size).sort())
                          : at::arange(spec.size, at::kLong);
  made.gate = parent.gate.index_select(0, kept);
  made.up = parent.up.index_select(0, kept);
  made.down = parent.down.index_select(1, kept);
  return made;
}

}  // namespace

SubBlockWeights InitVariant(const ModelWeights& parent, int64_t layer, const VariantSpec& spec,
                            const Tensor& channel_order) {
  const at::NoGradGuard no_grad;
  const auto index = static_cast<size_t>(layer);
  const BlockWeights& block = parent.blocks.at(index);
  const BlockSpec& parent_spec = parent.config.blocks[index];
  SubBlockWeights made;
  if (const auto* attention = std::get_if<AttentionSpec>(&spec)) {
    made = attention->form == SubBlockForm::kNone
               ? AttentionWeights{}
               : InitAttention(block.attention, parent_spec.attention, *attention, parent.config);
  } else {
    const auto& ffn = std::get<FfnSpec>(spec);
    made = ffn.form == SubBlockForm::kNone
               ? FfnWeights{}
               : InitFfn(block.ffn, parent_spec.ffn, ffn, channel_order);
  }
  return Clone(made, spec);
}

}  // namespace puzzle
