#include "model/weights.h"

#include <cmath>

#include "io/error.h"
#include "model/pch.h"

namespace puzzle {

using at::Tensor;

std::vector<NamedSlot> Slots(AttentionWeights& weights, const AttentionSpec& spec) {
  if (spec.form == SubBlockForm::kNone) return {};
  std::vector<NamedSlot> slots = {{"input_layernorm.weight", &weights.norm}};
  if (spec.form == SubBlockForm::kLinear) {
    slots.emplace_back("self_attn.linear_attn.weight", &weights.linear);
    return slots;
  }
  slots.emplace_back("self_attn.q_proj.weight", &weights.q);
  slots.emplace_back("self_attn.k_proj.weight", &weights.k);
  slots.emplace_back("self_attn.v_proj.weight", &weights.v);
  slots.emplace_back("self_attn.o_proj.weight", &weights.o);
  return slots;
}

std::vector<NamedSlot> Slots(FfnWeights& weights, const FfnSpec& spec) {
  if (spec.form == SubBlockForm::kNone) return {};
  std::vector<NamedSlot> slots = {{"post_attention_layernorm.weight", &weights.norm}};
  if (spec.form == SubBlockForm::kLinear) {
    slots.emplace_back("mlp.linear_mlp.weight", &weights.linear);
    return slots;
  }
  slots.emplace_back("mlp.gate_proj.weight", &weights.gate);
  slots.emplace_back("mlp.up_proj.weight", &weights.up);
  slots.emplace_back("mlp.down_proj.weight", &weights.down);
  return slots;
}

std::vector<NamedSlot> Slots(SubBlockWeights& weights, const VariantSpec& spec) {
  if (const auto* attention = std::get_if<AttentionSpec>(&spec))
    return Slots(std::get<AttentionWeights>(weights), *attention);
  return Slots(std::get<FfnWeights>(weights), std::get<FfnSpec>(spec));
}

std::vector<NamedSlot> Slots(ModelWeights& model) {
  std::vector<NamedSlot> slots = {{"model.embed_tokens.weight", &model.embedding}};
  for (size_t i = 0; i < model.blocks.size(); ++i) {
    const BlockSpec& spec = model.config.blocks[i];
    const std::string prefix = "model.layers." + std::to_string(i) + ".";
    for (auto& [name, slot] : Slots(model.blocks[i].attention, spec.attention))
      slots.emplace_back(prefix + name, slot);
    for (auto& [name, slot] : Slots(model.blocks[i].ffn, spec.ffn))
      slots.emplace_back(prefix + name, slot);
  }
  slots.emplace_back("model.norm.weight", &model.norm);
  if (!model.config.tied_embeddings) slots.emplace_back("lm_head.weight", &model.head);
  return slots;
}

Shape ExpectedShape(const std::string& name, const VariantSpec& spec, const ModelConfig& config) {
  const int64_t d = config.hidden_size;
  const int64_t q = config.n_heads * config.head_dim;
  const auto* attention = std::get_if<AttentionSpec>(&spec);
  const auto* ffn = std::get_if<FfnSpec>(&spec);
  const int64_t kv = attention != nullptr ? attention->n_kv_heads * config.head_dim : 0;
  const int64_t size = ffn != nullptr ? ffn->size : 0;
  if (name.ends_with("layernorm.weight")) return {d};
  if (name.ends_with("linear_attn.weight") || name.ends_with("linear_mlp.weight")) return {d, d};
  if (name.ends_with("q_proj.weight")) return {q, d};
  if (name.ends_with("k_proj.weight") || name.ends_with("v_proj.weight")) return {kv, d};
  if (name.ends_with("o_proj.weight")) return {d, q};
  if (name.ends_with("gate_proj.weight") || name.ends_with("up_proj.weight")) return {size, d};
  if (name.ends_with("down_proj.weight")) return {d, size};
  throw BugError("no tensor of a sub-block is called " + name);
}

std::vector<Tensor> Parameters(const ModelWeights& model) {
  ModelWeights handles = model;
  std::vector<Tensor> tensors;
  for (const auto& [name, slot] : Slots(handles)) tensors.push_back(*slot);
  return tensors;
}

std::vector<Tensor> Parameters(const SubBlockWeights& weights, const VariantSpec& spec) {
  SubBlockWeights handles = weights;
  std::vector<Tensor> tensors;
  for (const auto& [name, slot] : Slots(handles, spec)) tensors.push_back(*slot);
  return tensors;
}

ModelWeights Clone(const ModelWeights& model) {
  ModelWeights copy = model;
  for (auto& [name, slot] : Slots(copy)) *slot = slot->detach().clone();
  return copy;
}

SubBlockWeights Clone(const SubBlockWeights& weights, const VariantSpec& spec) {
  SubBlockWeights copy = weights;
  for (auto& [name, slot] : Slots(copy, spec)) *slot = slot->detach().clone();
  return copy;
}

ModelWeights ToDevice(const ModelWeights& model, const std::string& device) {
  ModelWeights moved = model;
  for (auto& [name, slot] : Slots(moved)) *slot = slot->to(at::Device(device));
  return moved;
}

SubBlockWeights SubBlockOf(const ModelWeights& model, int64_t layer, SubBlock which) {
  const BlockWeights& block = model.blocks.at(static_cast<size_t>(layer));
  if (which == SubBlock::kAttention) return block.attention;
  return block.ffn;
}

void Replace(ModelWeights& model, int64_t layer, const VariantSpec& spec,
             const SubBlockWeights& weights) {
  BlockWeights& block = model.blocks.at(static_cast<size_t>(layer));
  Place(spec, model.config.blocks[static_cast<size_t>(layer)]);
  if (WhichSubBlock(spec) == SubBlock::kAttention) {
    block.attention = std::get<AttentionWeights>(weights);
  } else {
    block.ffn = std::get<FfnWeights>(weights);
  }
}

size_t ByteSize(const ModelWeights& model) {
  size_t bytes = 0;
  for (const Tensor& tensor : Parameters(model)) bytes += tensor.nbytes();
  return bytes;
}

ModelWeights RandomModel(const ModelConfig& config, uint64_t seed) {
  CheckModelConfig(config, "model");
  const at::NoGradGuard no_grad;
  auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  auto normal = [&](const Shape& shape, double deviation) {
    return at::normal(0.0, deviation, shape, generator, at::TensorOptions().dtype(at::kFloat));
  };
  constexpr double kDeviation = 0.02;
  const double out_deviation = kDeviation / std::sqrt(2.0 * static_cast<double>(config.n_layers()));
  auto fill = [&](auto& weights, const auto& spec) {
    for (auto& [name, slot] : Slots(weights, spec)) {
      const Shape shape = ExpectedShape(name, spec, config);
      const bool output = name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight");
      *slot =
          shape.size() == 1 ? at::ones(shape) : normal(shape, output ? out_deviation : kDeviation);
    }
  };
  ModelWeights model;
  model.config = config;
  model.embedding = normal({config.vocab_size, config.hidden_size}, kDeviation);
  model.blocks.resize(config.blocks.size());
  for (size_t i = 0; i < model.blocks.size(); ++i) {
    fill(model.blocks[i].attention, config.blocks[i].attention);
    fill(model.blocks[i].ffn, config.blocks[i].ffn);
  }
  model.norm = at::ones({config.hidden_size});
  if (!config.tied_embeddings)
    model.head = normal({config.vocab_size, config.hidden_size}, kDeviation);
  return model;
}

}  // namespace puzzle
