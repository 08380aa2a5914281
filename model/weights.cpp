#include "model/weights.h"

#include <cmath>
#include <iterator>

#include "model/block/attention.h"
#include "model/block/ffn.h"
#include "model/pch.h"
#include "model/unread.h"

namespace puzzle {

using at::Tensor;

namespace {

template <typename Weights>
std::vector<NamedSlot> EverySlot(Weights& weights) {
  std::vector<NamedSlot> slots;
  block::Visit(weights,
               [&](std::string name, Tensor& slot) { slots.emplace_back(std::move(name), &slot); });
  return slots;
}

std::vector<NamedSlot> Joined(std::vector<NamedSlot> slots, std::vector<NamedSlot> more) {
  std::move(more.begin(), more.end(), std::back_inserter(slots));
  return slots;
}

template <typename Weights>
std::vector<NamedSlot> DefinedSlots(Weights& weights, bool is_none) {
  std::vector<NamedSlot> slots;
  if (is_none) return slots;
  for (NamedSlot& slot : EverySlot(weights))
    if (slot.second->defined()) slots.push_back(std::move(slot));
  return slots;
}

BlockWeights OutlineOf(const BlockSpec& spec, const ModelConfig& config) {
  return {block::Outline(spec.attention, config), block::Outline(spec.ffn, config)};
}

}  // namespace

SubBlockWeights Outline(const VariantSpec& spec, const ModelConfig& config) {
  if (const auto* attention = std::get_if<AttentionSpec>(&spec))
    return block::Outline(*attention, config);
  if (const auto* ffn = std::get_if<FfnSpec>(&spec)) return block::Outline(*ffn, config);
  return OutlineOf(std::get<BlockSpec>(spec), config);
}

ModelWeights Outline(const ModelConfig& config) {
  ModelWeights model;
  model.config = config;
  const Architecture& arch = config.arch;
  const int64_t d = config.hidden_size;
  model.embedding = block::Shaped({config.vocab_size, d});
  model.positions = block::ShapedIf(arch.positions == Architecture::Positions::kLearned,
                                    {config.max_positions + arch.position_offset, d});
  for (const BlockSpec& block : config.blocks) model.blocks.push_back(OutlineOf(block, config));
  model.norm = block::Shaped({d});
  model.norm_bias = block::ShapedIf(arch.norm == Architecture::Norm::kLayer, {d});
  model.head = block::ShapedIf(!config.tied_embeddings, {config.vocab_size, d});
  return model;
}

std::vector<NamedSlot> Slots(AttentionWeights& weights, const AttentionSpec& spec) {
  return DefinedSlots(weights, IsNone(spec));
}

std::vector<NamedSlot> Slots(FfnWeights& weights, const FfnSpec& spec) {
  return DefinedSlots(weights, IsNone(spec));
}

std::vector<NamedSlot> Slots(SubBlockWeights& weights, const VariantSpec& spec) {
  if (const auto* attention = std::get_if<AttentionSpec>(&spec))
    return Slots(std::get<AttentionWeights>(weights), *attention);
  if (const auto* ffn = std::get_if<FfnSpec>(&spec))
    return Slots(std::get<FfnWeights>(weights), *ffn);
  const auto& block = std::get<BlockSpec>(spec);
  auto& own = std::get<BlockWeights>(weights);
  return Joined(Slots(own.attention, block.attention), Slots(own.ffn, block.ffn));
}

std::vector<NamedSlot> AllSlots(SubBlockWeights& weights) {
  if (auto* block = std::get_if<BlockWeights>(&weights))
    return Joined(EverySlot(block->attention), EverySlot(block->ffn));
  if (auto* attention = std::get_if<AttentionWeights>(&weights)) return EverySlot(*attention);
  return EverySlot(std::get<FfnWeights>(weights));
}

SubBlockWeights NoWeights(SubBlock which) {
  if (which == SubBlock::kAttention) return AttentionWeights{};
  if (which == SubBlock::kFfn) return FfnWeights{};
  return BlockWeights{};
}

std::vector<NamedSlot> Slots(ModelWeights& model) {
  std::vector<NamedSlot> slots;
  auto add = [&](const char* name, Tensor& slot) {
    if (slot.defined()) slots.emplace_back(name, &slot);
  };
  add("model.embed_tokens.weight", model.embedding);
  add("model.embed_positions.weight", model.positions);
  for (size_t i = 0; i < model.blocks.size(); ++i) {
    const BlockSpec& spec = model.config.blocks[i];
    const std::string prefix = "model.layers." + std::to_string(i) + ".";
    for (auto& [name, slot] : Joined(Slots(model.blocks[i].attention, spec.attention),
                                     Slots(model.blocks[i].ffn, spec.ffn)))
      slots.emplace_back(prefix + name, slot);
  }
  add("model.norm.weight", model.norm);
  add("model.norm.bias", model.norm_bias);
  add("lm_head.weight", model.head);
  return slots;
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
  for (auto& [name, slot] : Slots(copy))
    *slot = slot->is_meta() ? InMemory(*slot) : slot->detach().clone();
  return copy;
}

SubBlockWeights Clone(const SubBlockWeights& weights, const VariantSpec& spec) {
  SubBlockWeights copy = weights;
  for (auto& [name, slot] : Slots(copy, spec))
    *slot = slot->is_meta() ? InMemory(*slot) : slot->detach().clone();
  return copy;
}

ModelWeights ToDevice(const ModelWeights& model, const std::string& device) {
  ModelWeights moved = model;
  for (auto& [name, slot] : Slots(moved)) *slot = InMemory(*slot).to(at::Device(device));
  return moved;
}

SubBlockWeights SubBlockOf(const ModelWeights& model, int64_t layer, SubBlock which) {
  const BlockWeights& block = model.blocks.at(static_cast<size_t>(layer));
  if (which == SubBlock::kBoth) return block;
  if (which == SubBlock::kAttention) return block.attention;
  return block.ffn;
}

void Replace(ModelWeights& model, int64_t layer, const VariantSpec& spec,
             const SubBlockWeights& weights) {
  BlockWeights& block = model.blocks.at(static_cast<size_t>(layer));
  Place(spec, model.config.blocks[static_cast<size_t>(layer)]);
  switch (WhichSubBlock(spec)) {
    case SubBlock::kAttention:
      block.attention = std::get<AttentionWeights>(weights);
      break;
    case SubBlock::kFfn:
      block.ffn = std::get<FfnWeights>(weights);
      break;
    case SubBlock::kBoth:
      block = std::get<BlockWeights>(weights);
      break;
  }
}

size_t ByteSize(const ModelWeights& model) {
  size_t bytes = 0;
  for (const Tensor& tensor : Parameters(model))
    if (!tensor.is_meta()) bytes += tensor.nbytes();
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
  ModelWeights model = Outline(config);
  for (const auto& [name, slot] : Slots(model)) {
    const Shape shape = slot->sizes().vec();
    const bool output = name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight");
    if (name.ends_with(".bias")) {
      *slot = at::zeros(shape);
    } else if (shape.size() == 1) {
      *slot = config.arch.norms_add_one ? at::zeros(shape) : at::ones(shape);
    } else {
      *slot = normal(shape, output ? out_deviation : kDeviation);
    }
  }
  return model;
}

}  // namespace puzzle
