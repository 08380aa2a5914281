#include "model/unread.h"

#include <fmt/format.h>

#include "io/error.h"
#include "model/pch.h"

namespace puzzle {

using at::Tensor;

namespace {

// The storage of an unread tensor has no bytes; its context, behind which this is the deleter, is
// the source.
using Held = std::shared_ptr<const TensorSource>;

void ReleaseSource(void* held) {
  delete static_cast<Held*>(held);
}

}  // namespace

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
