// Variants of sub-blocks by name, and how many parameters they have. Torch-free; thread-safe (pure
// functions).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "model/config.h"

namespace puzzle {

enum class SubBlock { kAttention, kFfn };

/// "attn" or "ffn".
[[nodiscard]] std::string_view SubBlockName(SubBlock which);

/// One alternative for one sub-block of one layer.
using VariantSpec = std::variant<AttentionSpec, FfnSpec>;

[[nodiscard]] SubBlock WhichSubBlock(const VariantSpec& spec);
/// "attn:kv2", "attn:linear", "ffn:256", "ffn:none": equal names mean equal shapes.
[[nodiscard]] std::string VariantName(const VariantSpec& spec);

/// A variant as the user writes it: "attn:kv4" "attn:kv50%" "attn:kv4q16" "attn:linear" "attn:none"
/// "ffn:512" "ffn:50%" "ffn:linear" "ffn:none"; kv4 keeps all query heads, kv4q16 only the 16 of
/// the four kv heads that stay. nullopt when the name is fine, else the complaint. Needs no model.
[[nodiscard]] std::optional<std::string> CheckVariantName(std::string_view name);

/// The variant that `name` means in `layer` of a model: percentages are of that layer's FFN,
/// rounded to the nearest multiple of `multiple_of` (at least one multiple). Throws Error naming
/// variant and layer when the model cannot have it: kv heads that do not divide the query heads or
/// exceed the parent's, an FFN above the parent's size, an unknown name, a layer that is not there.
[[nodiscard]] VariantSpec ResolveVariant(std::string_view name, const ModelConfig& parent,
                                         int64_t layer, int64_t multiple_of = 8);

/// The parent's own sub-block as a variant.
[[nodiscard]] VariantSpec ParentVariant(const ModelConfig& parent, int64_t layer, SubBlock which);
/// Puts `spec` into its slot of `block`.
void Place(const VariantSpec& spec, BlockSpec& block);

/// Parameters of a sub-block, its norm included; 0 for `none`.
[[nodiscard]] int64_t CountParameters(const VariantSpec& spec, const ModelConfig& config);
/// Parameters of all blocks.
[[nodiscard]] int64_t CountBlockParameters(const ModelConfig& config);
/// Embedding, learned positions, final norm and head (a tied head counts once).
[[nodiscard]] int64_t CountNonBlockParameters(const ModelConfig& config);

}  // namespace puzzle
