#include "model/fused_blocks.h"

#include <utility>
#include <variant>

#include "model/block/fused.h"
#include "model/pch.h"
#include "model/unread.h"

namespace puzzle {

using at::Tensor;

namespace {

BlockWeights RoundedBlock(const Transformer& model, int64_t layer) {
  const VariantSpec spec = ParentVariant(model.config(), layer, SubBlock::kBoth);
  return std::get<BlockWeights>(WithProductsIn(
      at::kBFloat16, InMemory(SubBlockOf(model.weights(), layer, SubBlock::kBoth)), spec));
}

bool IsOfUsualForm(const BlockWeights& rounded, const Transformer& model, int64_t layer) {
  const BlockSpec& spec = model.config().blocks[static_cast<size_t>(layer)];
  const block::Surroundings around{model.config(), model.rotary()};
  return (!spec.attention.is_full() || block::CanFuse(rounded.attention, spec.attention, around)) &&
         (!spec.ffn.is_full() || block::CanFuse(rounded.ffn, spec.ffn, around));
}

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
    SubBlockWeights block = SubBlockOf(model.weights(), layer, SubBlock::kBoth);
    for (const auto& [name, slot] :
         Slots(block, ParentVariant(model.config(), layer, SubBlock::kBoth)))
      if (slot->dim() == 2) elements += slot->numel();
  }
  return elements;
}

bool CanBeRounded(const Transformer& model) {
  const at::NoGradGuard no_grad;
  for (int64_t layer = 0; layer < model.config().n_layers(); ++layer)
    if (!IsOfUsualForm(RoundedBlock(model, layer), model, layer)) return false;
  return true;
}

RoundedBlocks Rounded(const Transformer& model, const Tensor& room) {
  const at::NoGradGuard no_grad;
  auto blocks = std::make_shared<std::vector<BlockWeights>>();
  int64_t taken = 0;  // of the room
  for (int64_t layer = 0; layer < model.config().n_layers(); ++layer) {
    BlockWeights block = RoundedBlock(model, layer);
    if (!IsOfUsualForm(block, model, layer)) return nullptr;
    if (room.defined())
      block = MovedTo(room, taken, ParentVariant(model.config(), layer, SubBlock::kBoth),
                      std::move(block));
    blocks->push_back(std::move(block));
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
