#include "nodes/train/stored_student.h"

#include "model/pch.h"

namespace puzzle {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

// The values of `stored`, and its gradient for `weight`.
struct StraightThrough : torch::autograd::Function<StraightThrough> {
  static Tensor forward(AutogradContext*, const Tensor& /*weight*/, const Tensor& stored) {
    return stored.detach();
  }
  static variable_list backward(AutogradContext*, variable_list grads) {
    return {grads[0], Tensor()};
  }
};

}  // namespace

Transformer StoredStudent::Seen(const Transformer& model) const {
  if (types_.empty()) return model;
  return Transformer(StoredAs(model.weights(), types_));
}

Transformer StoredStudent::Through(const Transformer& model, const Transformer& seen) const {
  if (types_.empty()) return model;
  ModelWeights weights = model.weights(), stored = seen.weights();
  const auto slots = Slots(weights), values = Slots(stored);
  for (size_t i = 0; i < slots.size(); ++i) {
    Tensor& slot = *slots[i].second;
    slot = StraightThrough::apply(slot, values[i].second->detach().to(slot.device()));
  }
  return Transformer(std::move(weights));
}

}  // namespace puzzle
