#include "model/fused_blocks.h"

#include "model/block/fused.h"
#include "model/pch.h"

namespace puzzle {

using at::Tensor;

namespace {

// Moves the rounded tensors of a block to where `taken` elements of the room are in use.
BlockWeights MovedTo(const Tensor& room, int64_t& taken, const VariantSpec& spec,
                     SubBlockWeights block) {
  for (const auto& [name, slot] : Slots(block, spec)) {
    if (slot->scalar_type() != at::kBFloat16) continue;
    const Tensor place = room.narrow(0, taken, slot->numel()).view(slot->sizes());
    place.copy_(*slot);
    *slot = place;
    taken += place.numel();
  }
  return std::get<BlockWeights>(std::move(block));
}

}  // namespace

int64_t RoundedElements(const Transformer& model) {
  int64_t elements = 0;
  for (int64_t layer = 0; layer < model.config().n_layers(); ++layer) {
    const VariantSpec spec = ParentVariant(model.config(), layer, SubBlock::kBoth);
    SubBlockWeights block = SubBlockOf(model.weights(), layer, SubBlock::kBoth);
    for (const auto& [name, slot] : Slots(block, spec))
      if (slot->dim() == 2) elements += slot->numel();
  }
  return elements;
}

RoundedBlocks Rounded(const Transformer& model, const Tensor& room) {
  const at::NoGradGuard no_grad;
  const ModelConfig& config = model.config();
  auto blocks = std::make_shared<std::vector<BlockWeights>>();
  const block::Surroundings around{config, model.rotary()};
  const auto is_usual = [&](const auto& rounded, const auto& spec) {
    return !spec.is_full() || block::CanFuse(rounded, spec, around);
  };
  int64_t taken = 0;  // of the room
  for (int64_t layer = 0; layer < config.n_layers(); ++layer) {
    const VariantSpec spec = ParentVariant(config, layer, SubBlock::kBoth);
    SubBlockWeights block =
        WithProductsIn(at::kBFloat16, SubBlockOf(model.weights(), layer, SubBlock::kBoth), spec);
    blocks->push_back(room.defined() ? MovedTo(room, taken, spec, std::move(block))
                                     : std::get<BlockWeights>(std::move(block)));
    const BlockSpec& both = config.blocks[static_cast<size_t>(layer)];
    if (!is_usual(blocks->back().attention, both.attention) ||
        !is_usual(blocks->back().ffn, both.ffn))
      return nullptr;
  }
  return blocks;
}

Tensor FusedBlock(const BlockWeights& weights, const BlockSpec& spec, const BlockWeights& rounded,
                  const ModelConfig& config, const RotaryTable& rotary, Tensor x) {
  const auto apply = [&](const auto& own, const auto& own_spec, const auto& own_rounded) {
    if (own_spec.is_full()) {
      x = block::AddFused(own, own_spec, own_rounded, {config, rotary}, x);
    } else if (!IsNone(own_spec)) {
      x = ApplySubBlock(WithProductsIn(at::kBFloat16, own, own_spec), own_spec, config, rotary, x);
    }
  };
  apply(weights.attention, spec.attention, rounded.attention);
  apply(weights.ffn, spec.ffn, rounded.ffn);
  return x;
}

Tensor FusedBlocks(const Transformer& model, const RoundedBlocks& rounded, Tensor x, int64_t first,
                   int64_t last) {
  if (rounded == nullptr) return model.Blocks(std::move(x), first, last);
  for (int64_t layer = first; layer < last; ++layer) {
    const auto index = static_cast<size_t>(layer);
    x = FusedBlock(model.weights().blocks[index], model.config().blocks[index], (*rounded)[index],
                   model.config(), model.rotary(), std::move(x));
  }
  return x;
}

}  // namespace puzzle
