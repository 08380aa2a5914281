#include "nodes/states/sub_block_data.h"

#include <algorithm>

#include "io/error.h"
#include "model/math/parallel.h"
#include "model/pch.h"
#include "nodes/data/counted_predictions.h"
#include "nodes/states/file_tensor.h"
#include "nodes/states/layer_input.h"

namespace puzzle {

using at::Tensor;

void CheckActivations(const Activations& activations, const std::string& parent_digest,
                      const ModelConfig& config) {
  if (activations.parent_digest() != parent_digest ||
      activations.n_states() != config.n_layers() + 1 || activations.hidden() != config.hidden_size)
    throw Error("the activations were captured from another model than the port `parent` gives");
}

int64_t SubBlockData::sequences() const {
  return input.size(0);
}

int64_t SubBlockData::length() const {
  return input.size(1);
}

size_t SubBlockData::bytes() const {
  return input.nbytes() + target.nbytes() + power.nbytes();
}

SubBlockData::Batch SubBlockData::Rows(const std::vector<int64_t>& rows, const std::string& device,
                                       bool as_bf16) const {
  const Tensor index = at::tensor(at::ArrayRef<int64_t>(rows), at::kLong);
  auto pick = [&](const Tensor& all, at::ScalarType type) {
    return all.index_select(0, index).to(at::Device(device), type);
  };
  return {pick(input, as_bf16 ? at::kBFloat16 : at::kFloat), pick(target, at::kFloat)};
}

void SubBlockData::Expect(const std::vector<int64_t>& rows) const {
  ReadAhead(input, rows);
  ReadAhead(target, rows);
}

namespace {

// Without values.
SubBlockData Empty(const Shape& shape, const DataRoom& room) {
  const auto bf16 = [&] {
    const size_t bytes = 2 * static_cast<size_t>(NumElements(shape)) * sizeof(at::BFloat16);
    return bytes <= room.in_memory ? at::empty(shape, at::kBFloat16)
                                   : FileTensor(room.path(), shape, at::kBFloat16);
  };
  return {bf16(), bf16(), at::empty({shape[0], shape[1]}, at::kFloat), {}};
}

}  // namespace

SubBlockData MakeSubBlockData(const Transformer& parent, const Activations& activations,
                              int64_t layer, SubBlock which, const SubBlockData* attention,
                              at::ScalarType products, const std::function<void()>& poll,
                              const DataRoom& room) {
  const at::NoGradGuard no_grad;
  constexpr int64_t kBatch = 8;
  const ModelConfig& config = parent.config();
  const VariantSpec own_spec = ParentVariant(config, layer, which);
  const SubBlockWeights own =
      WithProductsIn(products, SubBlockOf(parent.weights(), layer, which), own_spec);
  const Shape shape = {activations.sequences(), activations.length(), activations.hidden()};
  SubBlockData data = Empty(shape, room);
  if (const Tensor mask = activations.Mask(); mask.defined()) {
    data.predicts_answer = at::zeros({shape[0], shape[1]}, at::kFloat);
    data.predicts_answer.narrow(1, 0, shape[1] - 1).copy_(Predicting(mask));
  }
  for (int64_t first = 0; first < activations.sequences(); first += kBatch) {
    const int64_t count = std::min(kBatch, activations.sequences() - first);
    const Tensor before = LayerInput(parent, activations, layer, first, count);
    ParallelOverRows(count, before.device(), [&](int64_t, int64_t begin, int64_t rows) {
      const auto part = [&](const Tensor& all) { return all.narrow(0, first + begin, rows); };
      Tensor x = before.narrow(0, begin, rows);
      if (attention != nullptr) x = x + part(attention->target).to(x.device(), at::kFloat);
      // The target answers the rounded input, so that rounding is no error of the variant.
      const Tensor rounded = InputOf(own_spec, config, x).to(at::kBFloat16);
      part(data.input).copy_(rounded);
      const Tensor target = part(data.target);
      target.copy_(SubBlockOutput(own, own_spec, config, parent.rotary(), rounded.to(at::kFloat)));
      part(data.power).copy_(target.to(at::kFloat).square().sum(-1));
    });
    poll();
  }
  return data;
}

}  // namespace puzzle
