#include "model/decode/decoder_weights.h"

#include "model/decode/packer.h"
#include "model/math/ops.h"
#include "model/pch.h"
#include "model/unread.h"
#include "model/weights.h"

namespace puzzle::decode {

using at::Tensor;

namespace {

Vector Numbers(const Tensor& tensor) {
  if (!tensor.defined()) return {};
  const Tensor plain = PlainValues(tensor);
  return {plain.data_ptr<float>(), plain.data_ptr<float>() + plain.numel()};
}

// What a norm multiplies by; empty when there is none.
Vector NormNumbers(const Tensor& weight, const ModelConfig& config) {
  return weight.defined() ? Numbers(NormScale(InMemory(weight), config)) : Vector();
}

NormWeights NormOf(const Tensor& weight, const Tensor& bias, const ModelConfig& config) {
  return {NormNumbers(weight, config), Numbers(bias)};
}

// Biases below each other as their matrices are; empty when there is none at all.
Vector Stacked(std::initializer_list<std::pair<Tensor, int64_t>> biases) {
  Vector all;
  bool any = false;
  for (const auto& [bias, rows] : biases) {
    any = any || bias.defined();
    const Vector own = bias.defined() ? Numbers(bias) : Vector(static_cast<size_t>(rows));
    all.insert(all.end(), own.begin(), own.end());
  }
  return any ? all : Vector();
}

// What every form has around its own matrices. False: that was all of it.
template <typename Weights, typename Spec, typename Packed>
bool PrepareFrame(const Weights& own, const Spec& spec, const ModelConfig& config, Packed& packed,
                  Packer& packer) {
  packed.form = spec.form;
  if (spec.is_none()) return false;
  packed.norm = NormOf(own.norm, own.norm_bias, config);
  packed.post_norm = NormNumbers(own.post_norm, config);
  if (!spec.is_linear()) return true;
  packer.Add(packed.out, {own.linear});
  packed.out_bias = Numbers(own.linear_bias);
  return false;
}

void Prepare(const AttentionWeights& own, const AttentionSpec& spec, const ModelConfig& config,
             PackedAttention& packed, Packer& packer) {
  if (!PrepareFrame(own, spec, config, packed, packer)) return;
  packed.heads = QueryHeads(spec, config);
  packed.kv_heads = spec.n_kv_heads;
  packed.window = spec.window;
  packed.window_rotation = spec.window > 0 && config.window_rope.has_value();
  packer.Add(packed.qkv, {own.q, own.k, own.v});
  packed.qkv_bias = Stacked(
      {{own.q_bias, own.q.size(0)}, {own.k_bias, own.k.size(0)}, {own.v_bias, own.v.size(0)}});
  packed.q_norm = NormNumbers(own.q_norm, config);
  packed.k_norm = NormNumbers(own.k_norm, config);
  packer.Add(packed.out, {own.o});
  packed.out_bias = Numbers(own.o_bias);
}

void Prepare(const FfnWeights& own, const FfnSpec& spec, const ModelConfig& config,
             PackedFfn& packed, Packer& packer) {
  if (!PrepareFrame(own, spec, config, packed, packer)) return;
  if (own.gate.defined()) packer.Add(packed.gate, {own.gate});
  packer.Add(packed.up, {own.up});
  packer.Add(packed.out, {own.down});
  packed.gate_bias = Numbers(own.gate_bias);
  packed.up_bias = Numbers(own.up_bias);
  packed.out_bias = Numbers(own.down_bias);
}

Rotation RotationOf(const RotaryTable& table, int64_t positions) {
  if (positions <= 0) return {};
  const RotaryTable::Rows rows = table.At(0, positions);
  return {Numbers(rows.cos), Numbers(rows.sin), rows.cos.size(-1)};
}

// A table of positions that are long to the config holds those before them too.
Rotations RotationsOf(const RopeConfig& rope, const RotaryTable& table, int64_t positions) {
  if (!rope.IsLong(positions)) return {RotationOf(table, positions), {}};
  return {RotationOf(table, rope.original_max_positions), RotationOf(table, positions)};
}

Table TableOf(const Tensor& tensor, int64_t first = 0) {
  if (!tensor.defined()) return {};
  auto kept = std::make_shared<const Tensor>(PlainValues(tensor));
  return {kept, kept->data_ptr<float>() + first * kept->size(1)};
}

}  // namespace

PackedModel PackModel(ModelWeights weights, WeightType type, int64_t positions, Team& team) {
  const at::NoGradGuard no_grad;
  PackedModel model;
  model.config = weights.config;
  const ModelConfig& config = model.config;
  model.blocks.resize(weights.blocks.size());
  Packer packer(type, team);
  for (size_t i = 0; i < weights.blocks.size(); ++i) {
    Prepare(weights.blocks[i].attention, config.blocks[i].attention, config,
            model.blocks[i].attention, packer);
    Prepare(weights.blocks[i].ffn, config.blocks[i].ffn, config, model.blocks[i].ffn, packer);
  }
  packer.Add(model.head, {weights.HeadMatrix()});
  model.norm = NormOf(weights.norm, weights.norm_bias, config);
  if (weights.head.defined()) model.embedding = TableOf(weights.embedding);
  model.positions = TableOf(weights.positions, config.arch.position_offset);
  if (config.arch.positions == Architecture::Positions::kRotary) {
    const at::Device cpu(at::kCPU);
    model.rotations = RotationsOf(
        config.rope, RotaryTable(config.rope, config.head_dim, positions, cpu), positions);
    if (config.window_rope)
      model.window_rotations =
          RotationsOf(*config.window_rope,
                      RotaryTable(*config.window_rope, config.head_dim, positions, cpu), positions);
  }
  weights = {};  // what is packed can go
  model.arena = packer.Finish();
  return model;
}

}  // namespace puzzle::decode
