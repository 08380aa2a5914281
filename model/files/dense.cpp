#include "model/files/dense.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "io/error.h"
#include "model/families/family.h"
#include "model/files/head_padding.h"
#include "model/files/hf_config.h"
#include "model/files/zeros.h"
#include "model/pch.h"
#include "model/unread.h"

namespace puzzle {

using at::Tensor;

namespace {

[[noreturn]] void RefuseDense(const std::string& what) {
  throw Error("cannot be written as dense: " + what);
}

/// What every block becomes, but for its window.
BlockSpec CommonSpec(const ModelConfig& config) {
  BlockSpec common = {{SubBlockForm::kFull, 1}, {SubBlockForm::kFull, 1}};
  if (FamilyOf(config).fields.kv_heads == nullptr) common.attention.n_kv_heads = config.n_heads;
  for (size_t i = 0; i < config.blocks.size(); ++i) {
    const auto& [attention, ffn] = config.blocks[i];
    if (attention.is_linear() || ffn.is_linear())
      RefuseDense(fmt::format("layer {} has a linear sub-block", i));
    if (attention.is_full())
      common.attention.n_kv_heads = std::lcm(common.attention.n_kv_heads, attention.n_kv_heads);
    if (ffn.is_full()) common.ffn.size = std::max(common.ffn.size, ffn.size);
  }
  return common;
}

/// Every head so many times in a row.
void RepeatHeads(Tensor& rows, int64_t times, int64_t head_dim) {
  if (!rows.defined() || times == 1) return;
  const Shape shape = rows.sizes().vec();
  Shape heads = {shape[0] / head_dim, head_dim};
  heads.insert(heads.end(), shape.begin() + 1, shape.end());
  Shape repeated = shape;
  repeated[0] *= times;
  rows = Computed(rows, repeated, [heads, times](const Tensor& values) {
    return values.reshape(heads).repeat_interleave(times, 0).flatten(0, 1);
  });
}

void Widen(Tensor& tensor, int64_t dimension, int64_t size) {
  if (!tensor.defined() || tensor.size(dimension) == size) return;
  Shape more = tensor.sizes().vec(), whole = more;
  more[static_cast<size_t>(dimension)] = size - tensor.size(dimension);
  whole[static_cast<size_t>(dimension)] = size;
  tensor = Computed(tensor, whole, [more, dimension](const Tensor& values) {
    return at::cat({values, at::zeros(more, values.options())}, dimension);
  });
}

void BecomeFull(BlockWeights& weights, const BlockSpec& from, const BlockSpec& to,
                const ModelConfig& config) {
  SubBlockWeights attention = weights.attention, ffn = weights.ffn;
  if (from.attention.is_full()) {
    const int64_t times = to.attention.n_kv_heads / from.attention.n_kv_heads;
    auto& own = std::get<AttentionWeights>(attention);
    for (Tensor* rows : {&own.k, &own.k_bias, &own.v, &own.v_bias})
      RepeatHeads(*rows, times, config.head_dim);
  }
  if (from.ffn.is_full()) {
    auto& own = std::get<FfnWeights>(ffn);
    for (Tensor* rows : {&own.gate, &own.gate_bias, &own.up, &own.up_bias})
      Widen(*rows, 0, to.ffn.size);
    Widen(own.down, 1, to.ffn.size);
  }
  FillWithZeros(attention, Outline(VariantSpec(to.attention), config));
  FillWithZeros(ffn, Outline(VariantSpec(to.ffn), config));
  weights = {std::get<AttentionWeights>(attention), std::get<FfnWeights>(ffn)};
}

}  // namespace

ModelWeights MakeDense(const ModelWeights& model) {
  const at::NoGradGuard no_grad;
  ModelWeights dense = PadHeads(model);
  const ModelConfig padded = dense.config;
  const BlockSpec common = CommonSpec(padded);
  for (size_t i = 0; i < dense.blocks.size(); ++i) {
    BlockSpec& spec = dense.config.blocks[i];
    const int64_t window = spec.attention.is_full() ? spec.attention.window : LargestWindow(padded);
    spec = common;
    spec.attention.window = window;
    BecomeFull(dense.blocks[i], padded.blocks[i], spec, dense.config);
  }
  if (ToHfJson(dense.config).contains("block_configs"))
    RefuseDense("the windows of its layers are none that " + padded.family + " has words for");
  return dense;
}

}  // namespace puzzle
