#include "model/trainable.h"

#include "model/pch.h"

namespace puzzle {

using at::Tensor;

namespace {

std::vector<Tensor*> DefinedSlots(SubBlockWeights& weights, const VariantSpec& spec) {
  std::vector<Tensor*> slots;
  for (auto& [name, slot] : Slots(weights, spec))
    if (slot->defined()) slots.push_back(slot);
  return slots;
}

// As FoldNorm leaves it.
template <class Weights>
void DropFoldedNorm(Weights& own) {
  if (!own.norm_bias.defined()) own.norm = Tensor();
}

void DropFoldedNorm(BlockWeights& own) {
  DropFoldedNorm(own.attention);
  DropFoldedNorm(own.ffn);
}

}  // namespace

Trainable TrainableSubBlock(const SubBlockWeights& weights, const VariantSpec& spec,
                            const ModelConfig& config, const RotaryTable& rotary) {
  Trainable trainable;
  trainable.parameters = Parameters(weights, spec);
  trainable.prepare = [weights, spec, &config] {
    SubBlockWeights folded = FoldNorm(weights, config);
    std::vector<Tensor> tensors;
    for (const Tensor* slot : DefinedSlots(folded, spec)) tensors.push_back(*slot);
    return tensors;
  };
  trainable.output = [weights, spec, &config, &rotary](const std::vector<Tensor>& prepared,
                                                       const Tensor& input) {
    SubBlockWeights folded = weights;
    std::visit([](auto& own) { DropFoldedNorm(own); }, folded);
    auto tensor = prepared.begin();
    for (Tensor* slot : DefinedSlots(folded, spec)) *slot = (tensor++)->to(input.scalar_type());
    return SubBlockOutput(folded, spec, config, rotary, input).to(at::kFloat);
  };
  return trainable;
}

}  // namespace puzzle
