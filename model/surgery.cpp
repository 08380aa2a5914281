#include "model/surgery.h"

#include "model/block/attention.h"
#include "model/block/ffn.h"
#include "model/pch.h"

namespace puzzle {

using at::Tensor;

FfnWeights SortChannels(const FfnWeights& ffn, const Tensor& order) {
  const at::NoGradGuard no_grad;
  return block::SortChannels(ffn, order);
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
  const BlockWeights& own = parent.blocks.at(index);
  const BlockSpec& parent_spec = parent.config.blocks[index];
  SubBlockWeights made;
  if (const auto* attention = std::get_if<AttentionSpec>(&spec)) {
    made = block::Init(own.attention, parent_spec.attention, *attention, parent.config,
                       hints.kv_merge, hints.head_scores);
  } else {
    made = block::Init(own.ffn, parent_spec.ffn, std::get<FfnSpec>(spec), hints.sorted_ffn);
  }
  return Clone(made, spec);
}

}  // namespace puzzle
