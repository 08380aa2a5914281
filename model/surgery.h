// Making a variant out of the parent's sub-block (arXiv 2411.19146, section 3). Thread-safe (pure
// functions).
#pragma once

#include <ATen/core/Tensor.h>

#include "model/block/attention.h"
#include "model/weights.h"

namespace puzzle {

using block::KvMerge;

/// What surgery goes by beside the parent's weights.
struct SurgeryHints {
  /// SortChannels of the layer's FFN, shared by all its sizes; without tensors: truncation.
  FfnWeights sorted_ffn = {};
  KvMerge kv_merge = KvMerge::kAverage;
  /// [kv heads]: the highest stay when some go with their query heads; undefined: the first stay.
  at::Tensor head_scores = {};
};

/// The FFN with its channels in `order` (most important first, int64 [size]): every smaller FFN is
/// a prefix of it.
[[nodiscard]] FfnWeights SortChannels(const FfnWeights& ffn, const at::Tensor& order);

/// The starting weights of `spec` in `layer`:
///   kv heads r -> r': see KvMerge; with fewer query heads, the best r' groups of a kv head and its
///   query heads are kept, and so are their columns of W_o;
///   FFN smaller: the first `size` channels of `hints.sorted_ffn`, else of the parent;
///   linear: W_o * repeat(W_v) or W_down * W_up; what the biases add up to where there are any.
///   a whole block: both sub-blocks, each for itself.
/// At the parent's own shape the result equals the parent bit for bit. Fresh storage, detached.
/// REQUIRES: spec came from ResolveVariant for this parent and layer.
[[nodiscard]] SubBlockWeights InitVariant(const ModelWeights& parent, int64_t layer,
                                          const VariantSpec& spec, const SurgeryHints& hints = {});

}  // namespace puzzle
