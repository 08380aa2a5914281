#include "nodes/search/uniform.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "io/error.h"

namespace puzzle {
namespace {

using Part = std::optional<std::string> VariantTable::Variant::*;

bool IsOf(const VariantTable::Variant& variant, Part part,
          const std::optional<std::string>& shape) {
  return !shape || !(variant.*part) || *(variant.*part) == *shape;
}

bool Offers(const VariantTable::Group& group, Part part, const std::string& shape) {
  return std::any_of(group.variants.begin(), group.variants.end(),
                     [&](const auto& variant) { return IsOf(variant, part, shape); });
}

// The shapes of a part that every group offers. Free: the only entry is nothing.
std::vector<std::optional<std::string>> CommonShapes(const VariantTable& table, Part part,
                                                     bool is_free) {
  if (is_free) return {std::nullopt};
  std::vector<std::optional<std::string>> shapes;
  for (const VariantTable::Group& first : table.groups) {
    for (const VariantTable::Variant& variant : first.variants) {
      const std::optional<std::string>& shape = variant.*part;
      if (!shape || shape->empty()) continue;
      if (std::find(shapes.begin(), shapes.end(), shape) != shapes.end()) continue;
      if (std::all_of(table.groups.begin(), table.groups.end(),
                      [&](const auto& group) { return Offers(group, part, *shape); })) {
        shapes.push_back(shape);
      }
    }
    if (!shapes.empty()) break;  // what all offer, this one does
  }
  return shapes;
}

}  // namespace

const std::vector<std::string>& UniformNames() {
  static const std::vector<std::string> names = {"", "kv", "ffn", "all"};
  return names;
}

Uniform ReadUniform(std::string_view name) {
  const auto& names = UniformNames();
  const auto it = std::find(names.begin(), names.end(), name);
  if (it == names.end()) {
    throw Error(fmt::format("uniform: \"{}\" is not one of kv, ffn, all", name));
  }
  return static_cast<Uniform>(it - names.begin());
}

std::string UniformShape::Text() const {
  return fmt::format("{}{}{}", attention.value_or(""), attention && ffn ? ", " : "",
                     ffn.value_or(""));
}

std::vector<UniformShape> UniformShapes(const VariantTable& table, Uniform uniform) {
  std::vector<UniformShape> shapes;
  for (const auto& attention :
       CommonShapes(table, &VariantTable::Variant::attention, uniform == Uniform::kFfn)) {
    for (const auto& ffn :
         CommonShapes(table, &VariantTable::Variant::ffn, uniform == Uniform::kKv)) {
      shapes.push_back({attention, ffn});
    }
  }
  return shapes;
}

std::optional<SearchProblem> OfShape(const VariantTable& table, const SearchProblem& search,
                                     const UniformShape& shape) {
  SearchProblem alike{{{}, search.problem.limits}, {}};
  for (size_t g = 0; g < search.variants.size(); ++g) {
    auto& options = alike.problem.groups.emplace_back();
    auto& indices = alike.variants.emplace_back();
    for (size_t o = 0; o < search.variants[g].size(); ++o) {
      const int index = search.variants[g][o];
      const VariantTable::Variant& variant = table.groups[g].variants[static_cast<size_t>(index)];
      if (!IsOf(variant, &VariantTable::Variant::attention, shape.attention)) continue;
      if (!IsOf(variant, &VariantTable::Variant::ffn, shape.ffn)) continue;
      options.push_back(search.problem.groups[g][o]);
      indices.push_back(index);
    }
    if (options.empty()) return std::nullopt;
  }
  return alike;
}

}  // namespace puzzle
