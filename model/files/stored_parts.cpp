#include "model/files/stored_parts.h"

#include <fmt/format.h>

#include <charconv>
#include <set>
#include <string_view>

#include "io/error.h"
#include "model/pch.h"
#include "model/unread.h"

namespace puzzle {

using at::Tensor;

namespace {

// The part that a tensor of this name (as in Slots) belongs to; "" for what is fp32 anyway.
std::string PartOf(std::string_view name, const Tensor& tensor) {
  if (tensor.dim() < 2) return "";
  if (name == "model.embed_tokens.weight") return kEmbeddingPart;
  if (name == "lm_head.weight") return kHeadPart;
  constexpr std::string_view kLayers = "model.layers.";
  if (!name.starts_with(kLayers)) return "";
  name.remove_prefix(kLayers.size());
  int64_t layer = 0;
  (void)std::from_chars(name.data(), name.data() + name.size(), layer);
  const bool is_attention = name.find(".self_attn.") != std::string_view::npos;
  return SubBlockPart(layer, is_attention ? SubBlock::kAttention : SubBlock::kFfn);
}

std::optional<std::string> WhyNoBlocks(const std::string& name, const Tensor& matrix,
                                       const GgmlType& type) {
  if (matrix.size(-1) % type.block_elements == 0) return std::nullopt;
  return fmt::format("{}: rows of {} elements are no multiple of the {} in a block of {}", name,
                     matrix.size(-1), type.block_elements, type.name);
}

Tensor ThroughType(const Tensor& matrix, const GgmlType& type) {
  const Tensor values = matrix.detach().to(at::kCPU, at::kFloat).contiguous();
  Tensor made = at::empty_like(values);
  const size_t blocks = static_cast<size_t>(values.numel()) / type.block_elements;
  std::vector<unsigned char> bytes(blocks * type.block_bytes);
  type.quantise(values.data_ptr<float>(), blocks, bytes.data());
  type.dequantise(bytes.data(), blocks, made.data_ptr<float>());
  return made.to(matrix.device());
}

}  // namespace

std::string SubBlockPart(int64_t layer, SubBlock which) {
  return fmt::format("layer {} {}", layer, SubBlockName(which));
}

std::vector<ModelPart> StoredParts(const ModelConfig& config) {
  std::vector<ModelPart> parts = {{kEmbeddingPart, kEmbeddingPart}};
  for (int64_t layer = 0; layer < config.n_layers(); ++layer) {
    for (const SubBlock which : {SubBlock::kAttention, SubBlock::kFfn}) {
      const VariantSpec spec = ParentVariant(config, layer, which);
      if (!IsNone(spec)) parts.push_back({SubBlockPart(layer, which), VariantName(spec)});
    }
  }
  if (!config.tied_embeddings) parts.push_back({kHeadPart, kHeadPart});
  return parts;
}

std::optional<std::string> WhyNotStoredAs(const ModelConfig& config, const std::string& part,
                                          const GgmlType& type) {
  ModelWeights model = Outline(config);
  for (const auto& [name, slot] : Slots(model)) {
    if (PartOf(name, *slot) != part) continue;
    if (auto why = WhyNoBlocks(name, *slot, type)) return why;
  }
  return std::nullopt;
}

ModelWeights StoredAs(const ModelWeights& model, const StoredTypes& types) {
  const at::NoGradGuard no_grad;
  ModelWeights stored = model;
  std::set<std::string> found;
  for (const auto& [name, slot] : Slots(stored)) {
    const auto wanted = types.find(PartOf(name, *slot));
    if (wanted == types.end()) continue;
    const GgmlType& type = *wanted->second;
    if (const auto why = WhyNoBlocks(name, *slot, type))
      throw Error(*why + "; store it as f32, f16 or bf16");
    *slot = ThroughType(InMemory(*slot), type);
    if (!slot->isfinite().all().item<bool>())
      throw Error(fmt::format("{}: a value is too large for {}", name, type.name));
    found.insert(wanted->first);
  }
  for (const auto& [part, type] : types)
    if (!found.contains(part))
      throw Error(fmt::format("the model has no matrices in \"{}\"", part));
  return stored;
}

}  // namespace puzzle
