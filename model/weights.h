// The tensors of a model. Plain structs of tensor handles: copying shares storage, Clone does not.
// Thread-compatible.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "model/config.h"
#include "model/variant.h"

namespace puzzle {

/// Undefined tensors are absent: all for `none`, q..o for `linear`, `linear` for full attention.
struct AttentionWeights {
  at::Tensor norm;    // [hidden]
  at::Tensor q;       // [heads * head_dim, hidden]
  at::Tensor k;       // [kv heads * head_dim, hidden]
  at::Tensor v;       // [kv heads * head_dim, hidden]
  at::Tensor o;       // [hidden, heads * head_dim]
  at::Tensor linear;  // [hidden, hidden]
};

struct FfnWeights {
  at::Tensor norm;    // [hidden]
  at::Tensor gate;    // [size, hidden]
  at::Tensor up;      // [size, hidden]
  at::Tensor down;    // [hidden, size]
  at::Tensor linear;  // [hidden, hidden]
};

/// Weights of one sub-block; the alternative matches the VariantSpec's.
using SubBlockWeights = std::variant<AttentionWeights, FfnWeights>;

struct BlockWeights {
  AttentionWeights attention;
  FfnWeights ffn;
};

struct ModelWeights {
  ModelConfig config;
  at::Tensor embedding;  // [vocab, hidden]
  std::vector<BlockWeights> blocks;
  at::Tensor norm;  // [hidden]
  at::Tensor head;  // [vocab, hidden]; undefined when tied

  /// The head's matrix, the embedding's when tied.
  [[nodiscard]] const at::Tensor& HeadMatrix() const { return head.defined() ? head : embedding; }
};

/// A tensor slot and its name in a checkpoint ("self_attn.q_proj.weight", ...).
using NamedSlot = std::pair<std::string, at::Tensor*>;
using NamedTensor = std::pair<std::string, at::Tensor>;

/// The slots that `spec` has, in a fixed order, named as in a Hugging Face layer. The one place
/// that knows which tensors a variant consists of.
[[nodiscard]] std::vector<NamedSlot> Slots(AttentionWeights& weights, const AttentionSpec& spec);
[[nodiscard]] std::vector<NamedSlot> Slots(FfnWeights& weights, const FfnSpec& spec);
[[nodiscard]] std::vector<NamedSlot> Slots(SubBlockWeights& weights, const VariantSpec& spec);
/// Every tensor of the model with its checkpoint name ("model.layers.3.mlp.up_proj.weight").
[[nodiscard]] std::vector<NamedSlot> Slots(ModelWeights& model);
/// The shape that the tensor `name` (as in Slots) must have.
[[nodiscard]] Shape ExpectedShape(const std::string& name, const VariantSpec& spec,
                                  const ModelConfig& config);

/// Tensors only, without names: what an optimizer wants.
[[nodiscard]] std::vector<at::Tensor> Parameters(const ModelWeights& model);
[[nodiscard]] std::vector<at::Tensor> Parameters(const SubBlockWeights& weights,
                                                 const VariantSpec& spec);

/// Deep copies, detached from any graph.
[[nodiscard]] ModelWeights Clone(const ModelWeights& model);
[[nodiscard]] SubBlockWeights Clone(const SubBlockWeights& weights, const VariantSpec& spec);
/// The same weights on `device` ("cpu", "cuda:0").
[[nodiscard]] ModelWeights ToDevice(const ModelWeights& model, const std::string& device);

/// The sub-block in `layer`, sharing storage with the model.
[[nodiscard]] SubBlockWeights SubBlockOf(const ModelWeights& model, int64_t layer, SubBlock which);
/// Replaces one sub-block; config follows.
void Replace(ModelWeights& model, int64_t layer, const VariantSpec& spec,
             const SubBlockWeights& weights);

/// Bytes of all tensors.
[[nodiscard]] size_t ByteSize(const ModelWeights& model);

/// A fresh model: normal(0, 0.02), output projections scaled by 1/sqrt(2 * layers), norms 1.
[[nodiscard]] ModelWeights RandomModel(const ModelConfig& config, uint64_t seed);

}  // namespace puzzle
