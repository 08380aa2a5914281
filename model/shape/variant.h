// Variants of sub-blocks and whole blocks by name, and how many parameters they have. Torch-free;
// thread-safe (pure functions).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "model/shape/config.h"

namespace puzzle {

/// What a variant takes the place of.
enum class SubBlock { kAttention, kFfn, kBoth };

/// "attn", "ffn" or "block".
[[nodiscard]] std::string_view SubBlockName(SubBlock which);

/// One alternative for one sub-block of one layer, or for both as one choice.
using VariantSpec = std::variant<AttentionSpec, FfnSpec, BlockSpec>;

[[nodiscard]] SubBlock WhichSubBlock(const VariantSpec& spec);
/// The variants of sub-blocks that `spec` consists of, attention first: itself, or two.
[[nodiscard]] std::vector<VariantSpec> PartsOf(const VariantSpec& spec);
/// True when nothing stands there: `none`, of both sub-blocks in a whole block.
[[nodiscard]] bool IsNone(const VariantSpec& spec);
/// "attn:kv2", "attn:kv2w64", "attn:linear", "ffn:256", "ffn:none", "attn:kv1+ffn:256", "none":
/// equal names mean equal shapes.
[[nodiscard]] std::string VariantName(const VariantSpec& spec);

/// A variant as the user writes it: "attn:kv4" "attn:kv50%" "attn:kv4q16" "attn:linear" "attn:none"
/// "ffn:512" "ffn:50%" "ffn:linear" "ffn:none"; kv4 keeps all query heads, kv4q16 only the 16 of
/// the four kv heads that stay. Windows stay the parent's: kv4w64 says so, and is refused
/// elsewhere. A whole block is a pair such as "attn:kv1+ffn:50%", attention first, or "none".
/// nullopt when the name is fine, else the complaint. Needs no model.
[[nodiscard]] std::optional<std::string> CheckVariantName(std::string_view name);

/// The variant that `name` means in `layer` of a model: percentages are of that layer's FFN,
/// rounded to the nearest multiple of `multiple_of` (at least one multiple). Throws Error naming
/// variant and layer when the model cannot have it: kv heads that do not divide the query heads or
/// exceed the parent's, an FFN above the parent's size, an unknown name, a layer that is not there.
[[nodiscard]] VariantSpec ResolveVariant(std::string_view name, const ModelConfig& parent,
                                         int64_t layer, int64_t multiple_of = 8);

/// The parent's own sub-block, or block, as a variant.
[[nodiscard]] VariantSpec ParentVariant(const ModelConfig& parent, int64_t layer, SubBlock which);
/// Puts `spec` into its slot of `block`, or into both.
void Place(const VariantSpec& spec, BlockSpec& block);

/// Parameters of a sub-block or block, norms included; 0 for `none`.
[[nodiscard]] int64_t CountParameters(const VariantSpec& spec, const ModelConfig& config);
/// Parameters of all blocks.
[[nodiscard]] int64_t CountBlockParameters(const ModelConfig& config);
/// Embedding, learned positions, final norm and head (a tied head counts once).
[[nodiscard]] int64_t CountNonBlockParameters(const ModelConfig& config);

}  // namespace puzzle
