#include "nodes/states/finite.h"

#include <cmath>

#include <fmt/format.h>

#include "io/error.h"
#include "model/pch.h"
#include "model/unread.h"

namespace puzzle {

using at::Tensor;

bool AllFinite(const Tensor& tensor) {
  // NaN and infinity survive a sum, and fp64 holds any sum of finite fp32 values.
  return std::isfinite(tensor.sum(at::kDouble).item<double>());
}

std::string FirstNotFinite(const Transformer& model, const Tensor& ids) {
  const at::NoGradGuard no_grad;
  const at::Device device = model.weights().norm.device();
  // Of what is not in memory a part at a time is read.
  const auto with = [&](const WantedPart& part) {
    return Transformer(PartInMemory(model.weights(), part, device.str()));
  };
  Tensor x = with({.embedding = true}).Embed(ids.to(device));
  if (!AllFinite(x)) return "the embeddings";
  for (int64_t layer = 0; layer < model.config().n_layers(); ++layer) {
    x = with({.first = layer, .last = layer + 1}).Blocks(x, layer, layer + 1);
    if (!AllFinite(x)) return fmt::format("the output of layer {}", layer);
  }
  x = model.FinalNorm(x);
  if (!AllFinite(x)) return "the output of the final norm";
  const Tensor head = model.weights().HeadMatrix().to(at::kFloat);
  for (const Tensor& sequence : x.unbind(0))
    if (!AllFinite(at::mm(sequence, head.t()))) return "the logits";
  return "";
}

void ThrowNotFinite(const std::string& what) {
  throw Error(fmt::format(
      "NaN or infinity in {}: the weights are damaged, or their products overflow", what));
}

}  // namespace puzzle
