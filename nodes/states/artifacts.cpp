#include "nodes/states/artifacts.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "io/error.h"
#include "model/pch.h"
#include "nodes/tensor_archive.h"

namespace puzzle {

using at::Tensor;
using nlohmann::json;

namespace {

constexpr const char* kMask = "mask";

std::string StateName(int64_t index) {
  return fmt::format("state/{:04}", index);
}

bool Kept(const Activations::Layout& layout, int64_t index) {
  return layout.stride > 0 && index % layout.stride == 0;
}

at::ScalarType ScalarTypeOf(const Activations::Layout& layout) {
  return layout.dtype == DType::kBF16 ? at::kBFloat16 : at::kFloat;
}

}  // namespace

Activations::Writer::Writer(ArchiveWriter& out, const Layout& layout,
                            const std::string& parent_digest, const Tensor& mask)
    : out_(out), layout_(layout) {
  out.SetAttribute("states", layout.n_states);
  out.SetAttribute("sequences", layout.sequences);
  out.SetAttribute("length", layout.length);
  out.SetAttribute("hidden", layout.hidden);
  out.SetAttribute("dtype", std::string(DTypeName(layout.dtype)));
  out.SetAttribute("parent_digest", parent_digest);
  if (layout.stride != 1) out.SetAttribute("stride", layout.stride);
  for (int64_t i = 0; i < layout.n_states; ++i) {
    if (Kept(layout, i))
      out.Create(StateName(i), layout.dtype, {layout.sequences, layout.length, layout.hidden});
  }
  out.Create("ids", DType::kI32, {layout.sequences, layout.length});
  if (mask.defined()) WriteTensor(out, kMask, mask.to(at::kByte));
}

void Activations::Writer::Append(const std::vector<Tensor>& states, const Tensor& ids) {
  for (int64_t i = 0; i < layout_.n_states; ++i)
    if (Kept(layout_, i)) AppendState(i, states[static_cast<size_t>(i)]);
  AppendIds(ids);
}

void Activations::Writer::AppendState(int64_t index, const Tensor& states) {
  if (!Kept(layout_, index)) return;
  const Tensor host = states.detach().to(at::kCPU, ScalarTypeOf(layout_)).contiguous();
  out_.Append(StateName(index), ViewOf(host));
}

void Activations::Writer::AppendIds(const Tensor& ids) {
  const Tensor host = ids.to(at::kCPU, at::kInt).contiguous();
  out_.Append("ids", ViewOf(host));
}

void Activations::Save(ArchiveWriter&) const {
  throw BugError("activations are written while they are computed");
}

Activations Activations::Load(std::shared_ptr<const ArchiveReader> in) {
  Activations activations;
  Layout& layout = activations.layout_;
  layout.n_states = in->Attribute("states");
  layout.sequences = in->Attribute("sequences");
  layout.length = in->Attribute("length");
  layout.hidden = in->Attribute("hidden");
  const std::string dtype = in->Attribute("dtype");
  layout.dtype = ParseDType(dtype).value_or(DType::kBool);
  if (layout.dtype != DType::kF32 && layout.dtype != DType::kBF16)
    throw Error(fmt::format("activations: dtype \"{}\", expected f32 or bf16", dtype));
  if (in->HasAttribute("stride")) layout.stride = in->Attribute("stride");
  activations.parent_digest_ = in->Attribute("parent_digest");
  activations.reader_ = std::move(in);
  return activations;
}

bool Activations::Keeps(int64_t index) const {
  return Kept(layout_, index);
}

Tensor Activations::Read(int64_t index, int64_t first, int64_t count) const {
  PUZZLE_CHECK(Keeps(index), "this state was not kept");
  CheckArray(*reader_, StateName(index), layout_.dtype,
             {layout_.sequences, layout_.length, layout_.hidden});
  Tensor states = at::empty({count, layout_.length, layout_.hidden}, ScalarTypeOf(layout_));
  reader_->ReadRows(StateName(index), first, count, states.data_ptr());
  return states.to(at::kFloat);
}

Tensor Activations::Ids(int64_t first, int64_t count) const {
  CheckArray(*reader_, "ids", DType::kI32, {layout_.sequences, layout_.length});
  Tensor ids = at::empty({count, layout_.length}, at::kInt);
  reader_->ReadRows("ids", first, count, ids.data_ptr());
  return ids.to(at::kLong);
}

Tensor Activations::Mask() const {
  if (!reader_->HasArray(kMask)) return {};
  const Tensor mask = ReadTensor(*reader_, kMask);
  if (mask.dim() != 2 || mask.size(0) != sequences() || mask.size(1) != length())
    throw Error("activations: the mask has another shape than the ids");
  return mask.to(at::kBool);
}

void Importance::Save(ArchiveWriter& out) const {
  out.SetAttribute("layers", channel_order.size());
  for (size_t i = 0; i < channel_order.size(); ++i) {
    if (channel_order[i].defined())
      WriteTensor(out, fmt::format("channel_order/{:04}", i), channel_order[i]);
    if (head_scores[i].defined())
      WriteTensor(out, fmt::format("head_scores/{:04}", i), head_scores[i]);
  }
}

Importance Importance::Load(std::shared_ptr<const ArchiveReader> in) {
  Importance importance;
  const size_t layers = in->Attribute("layers");
  auto read = [&](const std::string& name) {
    return in->HasArray(name) ? ReadTensor(*in, name) : Tensor();
  };
  for (size_t i = 0; i < layers; ++i) {
    importance.channel_order.push_back(read(fmt::format("channel_order/{:04}", i)));
    importance.head_scores.push_back(read(fmt::format("head_scores/{:04}", i)));
  }
  return importance;
}

size_t Importance::ResidentBytes() const {
  size_t bytes = 0;
  for (const Tensor& order : channel_order)
    if (order.defined()) bytes += order.nbytes();
  return bytes;
}

}  // namespace puzzle
