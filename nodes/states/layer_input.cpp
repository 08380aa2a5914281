#include "nodes/states/layer_input.h"

#include <algorithm>

#include "model/pch.h"
#include "model/unread.h"

namespace puzzle {

using at::Tensor;

int64_t StartBelow(const Activations& states, int64_t layer) {
  while (layer > 0 && !states.Keeps(layer)) --layer;
  return layer;
}

Tensor LayerInput(const Transformer& model, const Activations& states, int64_t layer, int64_t first,
                  int64_t count) {
  const at::NoGradGuard no_grad;
  const at::Device device = model.weights().norm.device();
  const int64_t below = StartBelow(states, layer);
  const Tensor start = states.Keeps(below) ? states.Read(below, first, count).to(device)
                                           : model.Embed(states.Ids(first, count).to(device));
  return below == layer ? start : model.Blocks(start, below, layer);
}

ModelWeights LayerOf(const ModelWeights& model, const Activations& states, int64_t layer,
                     const std::string& device) {
  const int64_t below = StartBelow(states, layer);
  return PartInMemory(model,
                      {.first = below,
                       .last = std::min(layer + 1, model.config.n_layers()),
                       .embedding = !states.Keeps(below)},
                      device);
}

std::vector<Tensor> LayerInputs(const Transformer& model, const Activations& states,
                                const std::vector<int64_t>& rows) {
  const at::NoGradGuard no_grad;
  const at::Device device = model.weights().norm.device();
  auto gathered = [&](const auto& read) {
    std::vector<Tensor> parts;
    for (const int64_t row : rows) parts.push_back(read(row));
    return at::cat(parts).to(device);
  };
  std::vector<Tensor> all;
  for (int64_t i = 0; i < states.n_states(); ++i) {
    if (states.Keeps(i)) {
      all.push_back(gathered([&](int64_t row) { return states.Read(i, row, 1); }));
    } else if (i == 0) {
      all.push_back(model.Embed(gathered([&](int64_t row) { return states.Ids(row, 1); })));
    } else {
      all.push_back(model.Blocks(all.back(), i - 1, i));
    }
  }
  return all;
}

}  // namespace puzzle
