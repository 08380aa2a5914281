#include "model/block/ffn.h"

#include "model/pch.h"

namespace puzzle::block {

using at::Tensor;

FfnWeights Outline(const FfnSpec& spec, const ModelConfig& config) {
  FfnWeights made;
  if (spec.form == SubBlockForm::kNone) return made;
  const Architecture& arch = config.arch;
  const int64_t d = config.hidden_size;
  made.norm = Shaped({d});
  made.norm_bias = ShapedIf(arch.norm == Architecture::Norm::kLayer, {d});
  if (spec.form == SubBlockForm::kLinear) {
    made.linear = Shaped({d, d});
    made.linear_bias = ShapedIf(arch.ffn_bias, {d});
    return made;
  }
  made.gate = ShapedIf(arch.gated_ffn, {spec.size, d});
  made.up = Shaped({spec.size, d});
  made.down = Shaped({d, spec.size});
  made.gate_bias = ShapedIf(arch.gated_ffn && arch.ffn_bias, {spec.size});
  made.up_bias = ShapedIf(arch.ffn_bias, {spec.size});
  made.down_bias = ShapedIf(arch.ffn_bias, {d});
  made.post_norm = ShapedIf(arch.post_norms, {d});
  return made;
}

void Visit(FfnWeights& weights, const SlotVisitor& visit) {
  visit("post_attention_layernorm.weight", weights.norm);
  visit("post_attention_layernorm.bias", weights.norm_bias);
  visit("mlp.linear_mlp.weight", weights.linear);
  visit("mlp.linear_mlp.bias", weights.linear_bias);
  visit("mlp.gate_proj.weight", weights.gate);
  visit("mlp.gate_proj.bias", weights.gate_bias);
  visit("mlp.up_proj.weight", weights.up);
  visit("mlp.up_proj.bias", weights.up_bias);
  visit("mlp.down_proj.weight", weights.down);
  visit("mlp.down_proj.bias", weights.down_bias);
  visit("mlp.post_norm.weight", weights.post_norm);
}

Tensor Features(const FfnWeights& weights, const FfnSpec& spec, const Surroundings& around,
                const Tensor& x) {
  if (spec.form == SubBlockForm::kLinear) return x;
  const Architecture& arch = around.config.arch;
  const Tensor up = Linear(x, weights.up, weights.up_bias);
  if (!arch.gated_ffn) return Activate(up, arch.activation);
  return Gate(Linear(x, weights.gate, weights.gate_bias), up, arch.activation);
}

Tensor FfnWeights::*OutputMatrix(const FfnSpec& spec) {
  return spec.form == SubBlockForm::kLinear ? &FfnWeights::linear : &FfnWeights::down;
}

Tensor FfnWeights::*OutputBias(const FfnSpec& spec) {
  return spec.form == SubBlockForm::kLinear ? &FfnWeights::linear_bias : &FfnWeights::down_bias;
}

void FoldNorm(FfnWeights& own, const ModelConfig& config) {
  FoldInto(own.norm, own.norm_bias, config, {&own.gate, &own.up, &own.linear});
}

FfnWeights Init(const FfnWeights& parent, const FfnSpec& parent_spec, const FfnSpec& spec,
                const FfnWeights& sorted) {
  if (spec.form == SubBlockForm::kNone) return {};
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

FfnWeights SortChannels(const FfnWeights& ffn, const Tensor& order) {
  FfnWeights sorted = ffn;
  for (Tensor* rows : {&sorted.gate, &sorted.gate_bias, &sorted.up, &sorted.up_bias})
    if (rows->defined()) *rows = rows->index_select(0, order);
  sorted.down = ffn.down.index_select(1, order);
  return sorted;
}

}  // namespace puzzle::block
