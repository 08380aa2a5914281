#include "model/recompute.h"

#include <utility>

#include "model/pch.h"

namespace puzzle {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

namespace {

// A block of a model as a function of tensors: its input and its weights, in the order of Slots.
class BlockFunction : public torch::CustomClassHolder {
 public:
  BlockFunction(const Transformer& model, int64_t layer, RoundedBlocks rounded)
      : model_(model),
        layer_(layer),
        rounded_(std::move(rounded)),
        spec_(ParentVariant(model.config(), layer, SubBlock::kBoth)),
        weights_(SubBlockOf(model.weights(), layer, SubBlock::kBoth)) {}

  [[nodiscard]] variable_list Inputs(const Tensor& x) const {
    SubBlockWeights weights = weights_;
    variable_list inputs = {x};
    for (const auto& [name, slot] : Slots(weights, spec_)) inputs.push_back(*slot);
    return inputs;
  }

  [[nodiscard]] Tensor operator()(const variable_list& inputs) const {
    SubBlockWeights weights = weights_;
    auto next = inputs.begin();
    const Tensor& x = *next++;
    for (const auto& [name, slot] : Slots(weights, spec_)) *slot = *next++;
    if (rounded_ != nullptr)
      return FusedBlock(std::get<BlockWeights>(weights), std::get<BlockSpec>(spec_),
                        (*rounded_)[static_cast<size_t>(layer_)], model_.config(), model_.rotary(),
                        x);
    ModelWeights model = model_.weights();
    Replace(model, layer_, spec_, weights);
    return Transformer(std::move(model)).Blocks(x, layer_, layer_ + 1);
  }

 private:
  Transformer model_;
  int64_t layer_;
  RoundedBlocks rounded_;
  VariantSpec spec_;
  SubBlockWeights weights_;
};

// The same values, without their history.
variable_list Leaves(at::TensorList inputs) {
  variable_list leaves;
  for (const Tensor& input : inputs)
    leaves.push_back(input.detach().requires_grad_(input.requires_grad()));
  return leaves;
}

struct Recomputed : Function<Recomputed> {
  static Tensor forward(AutogradContext* ctx, const c10::intrusive_ptr<BlockFunction>& block,
                        at::TensorList inputs) {
    ctx->saved_data["block"] = c10::IValue::make_capsule(block);
    ctx->save_for_backward(inputs.vec());
    // Recorded, though the record is dropped: products without gradients take other paths.
    const at::AutoGradMode with_gradients(true);
    return (*block)(Leaves(inputs)).detach();
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto capsule = ctx->saved_data["block"].toCapsule();
    const auto& block = static_cast<const BlockFunction&>(*capsule);
    const at::AutoGradMode with_gradients(true);
    const variable_list leaves = Leaves(ctx->get_saved_variables());
    variable_list wanted;
    for (const Tensor& leaf : leaves)
      if (leaf.requires_grad()) wanted.push_back(leaf);
    const variable_list found = torch::autograd::grad(
        {block(leaves)}, wanted, {grads[0]}, /*retain_graph=*/false, /*create_graph=*/false);
    variable_list result = {Tensor()};  // of the block
    auto next = found.begin();
    for (const Tensor& leaf : leaves) result.push_back(leaf.requires_grad() ? *next++ : Tensor());
    return result;
  }
};

}  // namespace

Tensor RecomputedBlocks(const Transformer& model, Tensor x, int64_t first, int64_t last,
                        const RoundedBlocks& rounded) {
  for (int64_t layer = first; layer < last; ++layer) {
    if (IsNone(ParentVariant(model.config(), layer, SubBlock::kBoth))) continue;
    const auto block = c10::make_intrusive<BlockFunction>(model, layer, rounded);
    const variable_list inputs = block->Inputs(x);
    x = Recomputed::apply(block, at::TensorList(inputs));  // a vector would count as no tensors
  }
  return x;
}

}  // namespace puzzle
