#include "model/files/head_padding.h"

#include <fmt/format.h>

#include "io/error.h"
#include "model/files/stored_heads.h"
#include "model/pch.h"
#include "model/unread.h"

namespace puzzle {

using at::Tensor;

namespace {

// Heads along one dimension of a tensor: groups of `per_group` rows or columns.
struct Grouping {
  int64_t groups = 0;
  int64_t per_group = 0;
};

Shape Split(const Tensor& tensor, int64_t dimension, const Grouping& grouping) {
  const Shape split = {grouping.groups, grouping.per_group};
  Shape shape = tensor.sizes().vec();
  const auto place = shape.erase(shape.begin() + dimension);
  shape.insert(place, split.begin(), split.end());
  return shape;
}

// Zeros behind every group, and groups of zeros behind the last one.
Tensor Padded(const Tensor& tensor, int64_t dimension, const Grouping& from, const Grouping& to) {
  Shape shape = Split(tensor, dimension, to);
  const Tensor padded = at::zeros(shape, tensor.options());
  padded.narrow(dimension, 0, from.groups)
      .narrow(dimension + 1, 0, from.per_group)
      .copy_(tensor.reshape(Split(tensor, dimension, from)));
  return padded.flatten(dimension, dimension + 1);
}

Tensor Cut(const Tensor& tensor, int64_t dimension, const Grouping& from, const Grouping& to) {
  return tensor.reshape(Split(tensor, dimension, from))
      .narrow(dimension, 0, to.groups)
      .narrow(dimension + 1, 0, to.per_group)
      .flatten(dimension, dimension + 1)
      .contiguous();
}

using Resize = Tensor (*)(const Tensor&, int64_t dimension, const Grouping& from,
                          const Grouping& to);

void ResizeTensor(Tensor& tensor, int64_t dimension, const Grouping& from, const Grouping& to,
                  Resize resize) {
  if (!tensor.defined()) return;
  Shape shape = tensor.sizes().vec();
  shape[static_cast<size_t>(dimension)] = to.groups * to.per_group;
  tensor = Computed(tensor, shape, [dimension, from, to, resize](const Tensor& values) {
    return resize(values, dimension, from, to);
  });
}

Grouping QueryGroups(const AttentionSpec& spec, const ModelConfig& config) {
  return {spec.n_kv_heads, QueryHeads(spec, config) / spec.n_kv_heads * config.head_dim};
}

void ResizeHeads(AttentionWeights& weights, const AttentionSpec& from, const AttentionSpec& to,
                 const ModelConfig& config, Resize resize) {
  const Grouping queries = QueryGroups(from, config), new_queries = QueryGroups(to, config);
  const Grouping kv = {from.n_kv_heads, config.head_dim}, new_kv = {to.n_kv_heads, config.head_dim};
  for (Tensor* rows : {&weights.q, &weights.q_bias})
    ResizeTensor(*rows, 0, queries, new_queries, resize);
  for (Tensor* rows : {&weights.k, &weights.k_bias, &weights.v, &weights.v_bias})
    ResizeTensor(*rows, 0, kv, new_kv, resize);
  ResizeTensor(weights.o, 1, queries, new_queries, resize);
}

ModelWeights WithShape(const ModelWeights& model, const ModelConfig& config, Resize resize) {
  ModelWeights made = model;
  made.config = config;
  for (size_t layer = 0; layer < made.blocks.size(); ++layer) {
    const AttentionSpec& from = model.config.blocks[layer].attention;
    const AttentionSpec& to = config.blocks[layer].attention;
    if (!(from == to)) ResizeHeads(made.blocks[layer].attention, from, to, config, resize);
  }
  return made;
}

}  // namespace

ModelWeights PadHeads(const ModelWeights& model) {
  const at::NoGradGuard no_grad;
  return WithShape(model, StoredShape(model.config), Padded);
}

ModelWeights CutPadding(const ModelWeights& stored, const ModelConfig& config,
                        const std::string& where) {
  const at::NoGradGuard no_grad;
  ModelWeights cut = WithShape(stored, config, Cut);
  const ModelWeights again = WithShape(cut, stored.config, Padded);
  for (size_t layer = 0; layer < cut.blocks.size(); ++layer) {
    if (config.blocks[layer].attention == stored.config.blocks[layer].attention) continue;
    if (!InMemory(again.blocks[layer].attention.o)
             .equal(InMemory(stored.blocks[layer].attention.o)))
      throw Error(fmt::format(
          "{}: layer {}: config.json says in unpadded_heads that attention is {}, but o_proj has "
          "values in the columns of other heads; without unpadded_heads all of them are read",
          where, layer, Describe(config.blocks[layer].attention)));
  }
  return cut;
}

}  // namespace puzzle
