#include "model/files/zeros.h"

#include "model/pch.h"

namespace puzzle {

void FillWithZeros(SubBlockWeights& weights, SubBlockWeights outline) {
  const std::vector<NamedSlot> own = AllSlots(weights), wanted = AllSlots(outline);
  for (size_t i = 0; i < own.size(); ++i) {
    const auto& [name, slot] = own[i];
    const at::Tensor& shape = *wanted[i].second;
    if (!shape.defined()) {
      *slot = at::Tensor();
    } else if (!slot->defined()) {
      *slot = at::full({}, name.ends_with("layernorm.weight") ? 1.0 : 0.0).expand(shape.sizes());
    }
  }
}

}  // namespace puzzle
