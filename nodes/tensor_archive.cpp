#include "nodes/tensor_archive.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "io/error.h"
#include "model/pch.h"
#include "model/unread.h"

namespace puzzle {

using at::Tensor;
using nlohmann::json;

namespace {

at::ScalarType TorchType(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return at::kFloat;
    case DType::kF64:
      return at::kDouble;
    case DType::kF16:
      return at::kHalf;
    case DType::kBF16:
      return at::kBFloat16;
    case DType::kI32:
      return at::kInt;
    case DType::kI64:
      return at::kLong;
    case DType::kU8:
      return at::kByte;
    default:
      throw BugError("no tensor is stored as " + std::string(DTypeName(dtype)));
  }
}

const char* FormName(SubBlockForm form) {
  if (form == SubBlockForm::kFull) return "full";
  return form == SubBlockForm::kLinear ? "linear" : "none";
}

SubBlockForm FormFromName(const std::string& name) {
  if (name == "full") return SubBlockForm::kFull;
  if (name == "linear") return SubBlockForm::kLinear;
  if (name == "none") return SubBlockForm::kNone;
  throw Error("unknown sub-block form \"" + name + "\"");
}

}  // namespace

DType StoredType(const Tensor& tensor) {
  for (DType dtype :
       {DType::kF32, DType::kF64, DType::kF16, DType::kBF16, DType::kI32, DType::kI64, DType::kU8})
    if (TorchType(dtype) == tensor.scalar_type()) return dtype;
  throw BugError("no tensor of this type is stored");
}

ArrayView ViewOf(const Tensor& tensor) {
  PUZZLE_CHECK(tensor.is_contiguous() && tensor.device().is_cpu(), "views need host memory");
  return {StoredType(tensor), tensor.sizes().vec(), tensor.data_ptr()};
}

void CheckArray(const ArchiveReader& in, const std::string& name, DType dtype, const Shape& shape) {
  const ArrayInfo found = in.Info(name);
  if (found.dtype != dtype || found.shape != shape)
    throw Error(fmt::format("array \"{}\" is {} of shape {}, expected {} of shape {}", name,
                            DTypeName(found.dtype), ShapeString(found.shape), DTypeName(dtype),
                            ShapeString(shape)));
}

void WriteTensor(ArchiveWriter& out, const std::string& name, const Tensor& tensor) {
  const Tensor host = InMemory(tensor).detach().to(at::kCPU).contiguous();
  out.Write(name, ViewOf(host));
}

Tensor ReadTensor(const ArchiveReader& in, const std::string& name) {
  const ArrayInfo info = in.Info(name);
  Tensor tensor = at::empty(info.shape, TorchType(info.dtype));
  in.Read(name, tensor.data_ptr());
  return tensor;
}

Tensor ReadTensorInto(const Tensor& own, const ArchiveReader& in, const std::string& name) {
  const ArrayInfo info = in.Info(name);
  if (!own.is_cpu() || own.sizes() != at::IntArrayRef(info.shape) || info.dtype != StoredType(own))
    return ReadTensor(in, name);
  in.Read(name, own.data_ptr());
  return own;
}

json ToJson(const VariantSpec& spec) {
  if (const auto* block = std::get_if<BlockSpec>(&spec)) {
    json parts = json::array({ToJson(block->attention), ToJson(block->ffn)});
    return {{"block", std::move(parts)}};
  }
  if (const auto* attention = std::get_if<AttentionSpec>(&spec)) {
    return {{"attn", FormName(attention->form)},
            {"n_kv_heads", attention->n_kv_heads},
            {"window", attention->window},
            {"n_query_heads", attention->n_query_heads}};
  }
  const auto& ffn = std::get<FfnSpec>(spec);
  return {{"ffn", FormName(ffn.form)}, {"size", ffn.size}};
}

VariantSpec VariantFromJson(const json& value) {
  if (value.contains("block"))
    return BlockSpec{std::get<AttentionSpec>(VariantFromJson(value.at("block").at(0))),
                     std::get<FfnSpec>(VariantFromJson(value.at("block").at(1)))};
  if (value.contains("attn"))
    return AttentionSpec{FormFromName(value.at("attn")), value.at("n_kv_heads"),
                         value.value("window", int64_t{0}),
                         value.value("n_query_heads", int64_t{0})};
  return FfnSpec{FormFromName(value.at("ffn")), value.at("size")};
}

void WriteText(ArchiveWriter& out, const std::string& name, const std::string& text) {
  out.Write(name, {DType::kU8, {static_cast<int64_t>(text.size())}, text.data()});
}

std::string ReadText(const ArchiveReader& in, const std::string& name) {
  const int64_t bytes = NumElements(in.Info(name).shape);
  CheckArray(in, name, DType::kU8, {bytes});
  std::string text(static_cast<size_t>(bytes), '\0');
  in.Read(name, text.data());
  return text;
}

}  // namespace puzzle
