#include "model/unread.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "io/error.h"
#include "model/pch.h"

namespace puzzle {

using at::Tensor;

namespace {

class ComputedTensor final : public TensorSource {
 public:
  ComputedTensor(Tensor from, std::function<Tensor(const Tensor&)> compute)
      : from_(std::move(from)), compute_(std::move(compute)) {}
  Tensor Read() const override {
    const at::NoGradGuard no_grad;
    return compute_(InMemory(from_));
  }

 private:
  Tensor from_;
  std::function<Tensor(const Tensor&)> compute_;
};

// The storage of an unread tensor has no bytes; its context, behind which this is the deleter, is
// the source.
using Held = std::shared_ptr<const TensorSource>;

void ReleaseSource(void* held) {
  delete static_cast<Held*>(held);
}

}  // namespace

bool TensorSource::Rows::ReadStored(int64_t, int64_t, DType, void*) const {
  return false;
}

Tensor Unread(const Shape& shape, std::shared_ptr<const TensorSource> source) {
  const auto bytes = static_cast<size_t>(NumElements(shape)) * sizeof(float);
  c10::Storage storage(c10::Storage::use_byte_size_t(), bytes,
                       c10::DataPtr(nullptr, new Held(std::move(source)), &ReleaseSource,
                                    c10::Device(c10::DeviceType::Meta)),
                       /*allocator=*/nullptr, /*resizable=*/false);
  Tensor tensor = at::detail::make_tensor<c10::TensorImpl>(
      std::move(storage), c10::DispatchKeySet(c10::DispatchKey::Meta),
      caffe2::TypeMeta::Make<float>());
  tensor.unsafeGetTensorImpl()->set_sizes_contiguous(shape);
  return tensor;
}

std::shared_ptr<const TensorSource> SourceOf(const Tensor& tensor) {
  if (!tensor.defined() || !tensor.is_meta() || !tensor.has_storage()) return nullptr;
  const c10::DataPtr& pointer = tensor.storage().data_ptr();
  if (pointer.get_deleter() != &ReleaseSource) return nullptr;
  // A part of such a tensor is none: only whole ones know how to be read.
  if (tensor.storage_offset() != 0 || !tensor.is_contiguous() ||
      tensor.nbytes() != tensor.storage().nbytes())
    return nullptr;
  return *static_cast<const Held*>(pointer.get_context());
}

Tensor InMemory(const Tensor& tensor) {
  if (!tensor.defined() || !tensor.is_meta()) return tensor;
  const auto source = SourceOf(tensor);
  PUZZLE_CHECK(source != nullptr, "a tensor without values is used");
  Tensor values = source->Read();
  if (values.sizes() != tensor.sizes())
    throw Error(fmt::format("a tensor of shape {} was read where {} is expected",
                            ShapeString(values.sizes().vec()), ShapeString(tensor.sizes().vec())));
  return values;
}

Tensor Computed(const Tensor& tensor, const Shape& shape,
                std::function<Tensor(const Tensor& values)> compute) {
  if (SourceOf(tensor) == nullptr) return compute(tensor);
  return Unread(shape, std::make_shared<const ComputedTensor>(tensor, std::move(compute)));
}

bool HasRows(const Tensor& tensor) {
  const auto source = SourceOf(tensor);
  return tensor.dim() == 2 && (source == nullptr || source->rows() != nullptr);
}

Tensor RowsInMemory(const Tensor& matrix, int64_t first, int64_t count) {
  const auto source = SourceOf(matrix);
  const TensorSource::Rows* const rows = source != nullptr ? source->rows() : nullptr;
  if (rows == nullptr) return InMemory(matrix).narrow(0, first, count);
  Tensor values = at::empty({count, matrix.size(1)}, at::kFloat);
  rows->ReadRows(first, {values.data_ptr<float>(), static_cast<size_t>(values.numel())});
  return values;
}

int64_t RowsAtOnce(const Tensor& matrix) {
  constexpr int64_t kElements = 1 << 22;
  return std::max<int64_t>(1, kElements / std::max<int64_t>(1, matrix.size(1)));
}

void ForEachRows(const Tensor& tensor,
                 const std::function<void(int64_t first, const Tensor& rows)>& use) {
  if (!HasRows(tensor)) return use(0, InMemory(tensor));
  const int64_t at_once = RowsAtOnce(tensor);
  for (int64_t first = 0; first < tensor.size(0); first += at_once)
    use(first, RowsInMemory(tensor, first, std::min(at_once, tensor.size(0) - first)));
}

SubBlockWeights InMemory(SubBlockWeights weights) {
  for (const auto& [name, slot] : AllSlots(weights)) *slot = InMemory(*slot);
  return weights;
}

ModelWeights PartInMemory(const ModelWeights& model, const WantedPart& part,
                          const std::string& device) {
  ModelWeights made = model;
  const auto fetch = [&](Tensor& slot) {
    if (slot.defined()) slot = InMemory(slot).to(at::Device(device));
  };
  for (int64_t layer = part.first; layer < part.last; ++layer) {
    SubBlockWeights block = SubBlockOf(model, layer, SubBlock::kBoth);
    for (const auto& [name, slot] : AllSlots(block)) fetch(*slot);
    made.blocks[static_cast<size_t>(layer)] = std::get<BlockWeights>(std::move(block));
  }
  const bool tied_head = part.head && !model.head.defined();
  if (part.embedding || tied_head) fetch(made.embedding);
  if (part.head) fetch(made.head);
  for (Tensor* slot : {&made.positions, &made.norm, &made.norm_bias}) fetch(*slot);
  return made;
}

}  // namespace puzzle
