// NaN and infinity, reported where they arise: weights that are finite may still overflow in
// products, and every figure computed from the answers is worthless. Thread-safe.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "model/transformer.h"

namespace puzzle {

/// Whether no value is NaN or infinite. Reads the tensor once.
[[nodiscard]] bool AllFinite(const at::Tensor& tensor);

/// "the output of layer 3": what of `model` is the first not to be finite on ids [batch, seq];
/// "" when everything is, logits included. Runs the model once more: for messages.
[[nodiscard]] std::string FirstNotFinite(const Transformer& model, const at::Tensor& ids);

/// An Error that says so: "NaN or infinity in the output of layer 3 of the parent; ...".
[[noreturn]] void ThrowNotFinite(const std::string& what);

}  // namespace puzzle
