// Tensors and model shapes in archives: what several artifacts store the same way.
#pragma once

#include <ATen/core/Tensor.h>

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "io/archive.h"
#include "model/weights.h"

namespace puzzle {

/// The archive's element type for a tensor. Throws BugError for types that are never stored.
[[nodiscard]] DType StoredType(const at::Tensor& tensor);
/// A view of a contiguous tensor on the host.
[[nodiscard]] ArrayView ViewOf(const at::Tensor& tensor);

/// Throws Error unless an array has this type and shape. For those that are read into memory that
/// was made for it, since archives may be somebody else's.
void CheckArray(const ArchiveReader& in, const std::string& name, DType dtype, const Shape& shape);

/// Stores any tensor (moved to the host first).
void WriteTensor(ArchiveWriter& out, const std::string& name, const at::Tensor& tensor);
/// Reads it back, on the host.
[[nodiscard]] at::Tensor ReadTensor(const ArchiveReader& in, const std::string& name);
/// The same, but read into `own`, which is returned then, where that is on the host and of the same
/// shape and type: it may be larger than the memory. REQUIRES: `own` is contiguous.
[[nodiscard]] at::Tensor ReadTensorInto(const at::Tensor& own, const ArchiveReader& in,
                                        const std::string& name);

/// Stores a text of any bytes, and reads it back; an array of another type is an Error.
void WriteText(ArchiveWriter& out, const std::string& name, const std::string& text);
[[nodiscard]] std::string ReadText(const ArchiveReader& in, const std::string& name);

[[nodiscard]] nlohmann::json ToJson(const VariantSpec& spec);
[[nodiscard]] VariantSpec VariantFromJson(const nlohmann::json& json);

}  // namespace puzzle
