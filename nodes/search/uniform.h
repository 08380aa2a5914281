// Children whose layers are alike, which every loader reads: a config.json has one number of kv
// heads and one FFN size. Values; the functions are thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/search/variant_table.h"

namespace puzzle {

/// Which parts have the same shape in all layers.
enum class Uniform { kNone, kKv, kFfn, kAll };

/// "", "kv", "ffn", "all": the names, in the order of the values.
[[nodiscard]] const std::vector<std::string>& UniformNames();
/// Throws Error for any other text.
[[nodiscard]] Uniform ReadUniform(std::string_view name);

/// What all layers take; nothing where they are free.
struct UniformShape {
  std::optional<std::string> attention, ffn;

  /// "8 kv heads, 14336 channels".
  [[nodiscard]] std::string Text() const;
};

/// The shapes that every layer can take, largest first as the first layer lists them.
[[nodiscard]] std::vector<UniformShape> UniformShapes(const VariantTable& table, Uniform uniform);

/// `search` with the variants of this shape alone; nothing when a group has none of them.
/// REQUIRES: `search` was made of `table`.
[[nodiscard]] std::optional<SearchProblem> OfShape(const VariantTable& table,
                                                   const SearchProblem& search,
                                                   const UniformShape& shape);

}  // namespace puzzle
