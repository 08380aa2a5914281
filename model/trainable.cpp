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

}  // namespace

Trainable TrainableSubBlock(const SubBlockWeights& weights, const VariantSpec& spec,
                            const ModelConfig& config, const RotaryTable& rotary) {
  Trainable trainable;
  trainable.parameters = Parameters(weights, spec);
  trainable.prepare = [weights, spec] {
    SubBlockWeights folded = FoldNorm(weights);
    std::vector<Tensor> tensors;
    for (const Tensor* slot : DefinedSlots(folded, spec)) tensors.push_back(*slot);
    return tensors;
  };
  trainable.output = [weights, spec, &config, &rotary](const std::vector<Tensor>& prepared,
                                                       const Tensor& input) {
    SubBlockWeights folded = weights;
    auto without_norm = [](auto& own) {
      if (!own.norm_bias.defined()) own.norm = Tensor();
    };
    std::visit(without_norm, folded);  // as FoldNorm leaves it
    auto tensor = prepared.begin();
    for (Tensor* slot : DefinedSlots(folded, spec)) *slot = (tensor++)->to(input.scalar_type());
    return SubBlockOutput(folded, spec, config, rotary, input).to(at::kFloat);
  };
  return trainable;
}

}  // namespace puzzle
