#include "model/fused_blocks.h"

#include "model/block/fused.h"
#include "model/pch.h"

namespace puzzle {

using at::Tensor;

RoundedBlocks Rounded(const Transformer& model) {
  const at::NoGradGuard no_grad;
  const ModelConfig& config = model.config();
  auto blocks = std::make_shared<std::vector<BlockWeights>>();
  const block::Surroundings around{config, model.rotary()};
  const auto is_usual = [&](const auto& rounded, const auto& spec) {
    return !spec.is_full() || block::CanFuse(rounded, spec, around);
  };
  for (int64_t layer = 0; layer < config.n_layers(); ++layer) {
    const VariantSpec spec = ParentVariant(config, layer, SubBlock::kBoth);
    blocks->push_back(std::get<BlockWeights>(
        WithProductsIn(at::kBFloat16, SubBlockOf(model.weights(), layer, SubBlock::kBoth), spec)));
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
