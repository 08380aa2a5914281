// The tensors of a model. Plain structs of tensor handles: copying shares storage, Clone does not.
// Thread-compatible.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "model/shape/config.h"
#include "model/shape/variant.h"

namespace puzzle {

/// Undefined tensors are absent: all for `none`, q..o for `linear`, `linear` for full attention,
/// and in every form what the family does not have: biases, norms of queries and keys.
struct AttentionWeights {
  at::Tensor norm, norm_bias;      // [hidden]
  at::Tensor q, q_bias;            // [heads * head_dim, hidden], [heads * head_dim]
  at::Tensor k, k_bias;            // [kv heads * head_dim, hidden], ...
  at::Tensor v, v_bias;            // [kv heads * head_dim, hidden], ...
  at::Tensor q_norm, k_norm;       // [head_dim]
  at::Tensor o, o_bias;            // [hidden, heads * head_dim], [hidden]
  at::Tensor linear, linear_bias;  // [hidden, hidden], [hidden]
  at::Tensor post_norm;            // [hidden]: of what is added, in families that have one
};

struct FfnWeights {
  at::Tensor norm, norm_bias;      // [hidden]
  at::Tensor gate, gate_bias;      // [size, hidden], [size]; absent unless the FFN is gated
  at::Tensor up, up_bias;          // [size, hidden], [size]
  at::Tensor down, down_bias;      // [hidden, size], [hidden]
  at::Tensor linear, linear_bias;  // [hidden, hidden], [hidden]
  at::Tensor post_norm;            // [hidden]
};

struct BlockWeights {
  AttentionWeights attention;
  FfnWeights ffn;
};

/// Weights of one variant; the alternative matches the VariantSpec's.
using SubBlockWeights = std::variant<AttentionWeights, FfnWeights, BlockWeights>;

struct ModelWeights {
  ModelConfig config;
  at::Tensor embedding;  // [vocab, hidden]
  at::Tensor positions;  // [max positions + offset, hidden]; undefined unless they are learned
  std::vector<BlockWeights> blocks;
  at::Tensor norm, norm_bias;  // [hidden]
  at::Tensor head;             // [vocab, hidden]; undefined when tied

  /// The head's matrix, the embedding's when tied.
  [[nodiscard]] const at::Tensor& HeadMatrix() const { return head.defined() ? head : embedding; }
};

/// A tensor slot and its name, as in a checkpoint of Llama ("self_attn.q_proj.weight", ...); what
/// other families call it is in model/families/family.h.
using NamedSlot = std::pair<std::string, at::Tensor*>;
using NamedTensor = std::pair<std::string, at::Tensor>;

/// Tensors without storage, of the right shapes, wherever such a sub-block or model has one: the
/// one place that knows which those are.
[[nodiscard]] SubBlockWeights Outline(const VariantSpec& spec, const ModelConfig& config);
[[nodiscard]] ModelWeights Outline(const ModelConfig& config);

/// The slots that hold a tensor, in a fixed order.
[[nodiscard]] std::vector<NamedSlot> Slots(AttentionWeights& weights, const AttentionSpec& spec);
[[nodiscard]] std::vector<NamedSlot> Slots(FfnWeights& weights, const FfnSpec& spec);
[[nodiscard]] std::vector<NamedSlot> Slots(SubBlockWeights& weights, const VariantSpec& spec);
/// Every tensor of the model by its whole name ("model.layers.3.mlp.up_proj.weight").
[[nodiscard]] std::vector<NamedSlot> Slots(ModelWeights& model);
/// Every slot of a sub-block or block, whether it holds a tensor or not.
[[nodiscard]] std::vector<NamedSlot> AllSlots(SubBlockWeights& weights);
/// Weights without any tensor.
[[nodiscard]] SubBlockWeights NoWeights(SubBlock which);

/// Tensors only, without names: what an optimizer wants.
[[nodiscard]] std::vector<at::Tensor> Parameters(const ModelWeights& model);
[[nodiscard]] std::vector<at::Tensor> Parameters(const SubBlockWeights& weights,
                                                 const VariantSpec& spec);

/// Deep copies, detached from any graph.
[[nodiscard]] ModelWeights Clone(const ModelWeights& model);
[[nodiscard]] SubBlockWeights Clone(const SubBlockWeights& weights, const VariantSpec& spec);
/// The same weights on `device` ("cpu", "cuda:0").
[[nodiscard]] ModelWeights ToDevice(const ModelWeights& model, const std::string& device);

/// The sub-block in `layer`, or the block, sharing storage with the model.
[[nodiscard]] SubBlockWeights SubBlockOf(const ModelWeights& model, int64_t layer, SubBlock which);
/// Replaces one sub-block, or both; config follows.
void Replace(ModelWeights& model, int64_t layer, const VariantSpec& spec,
             const SubBlockWeights& weights);

/// Bytes of all tensors.
[[nodiscard]] size_t ByteSize(const ModelWeights& model);

/// A fresh model: normal(0, 0.02), output projections scaled by 1/sqrt(2 * layers), norms 1, biases
/// 0.
[[nodiscard]] ModelWeights RandomModel(const ModelConfig& config, uint64_t seed);

}  // namespace puzzle
