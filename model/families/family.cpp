#include "model/families/family.h"

#include <algorithm>

#include "io/error.h"
#include "model/families/families.h"

namespace puzzle {

namespace {

constexpr const Family* kFamilies[] = {&kLlama,  &kMistral, &kQwen2, &kQwen3,  &kGpt2,
                                       &kGptNeo, &kOpt,     &kPhi3,  &kGemma2, &kGemma3};

struct Place {
  std::string_view name;
  int part = 0;
};

Place Renamed(const Family& family, std::string_view part) {
  Place place{part};
  for (const auto& [ours, theirs] : family.names)
    if (ours == part) place.name = theirs;
  for (const auto& [ours, theirs] : family.names) {
    if (ours == part) break;
    if (theirs == place.name) ++place.part;
  }
  return place;
}

}  // namespace

const Family* FindFamily(std::string_view model_type) {
  const auto* found = std::find_if(std::begin(kFamilies), std::end(kFamilies),
                                   [&](const Family* f) { return f->model_type == model_type; });
  return found == std::end(kFamilies) ? nullptr : *found;
}

const Family& FamilyOf(const ModelConfig& config) {
  const Family* family = FindFamily(config.family);
  PUZZLE_CHECK(family != nullptr, "unknown family " + config.family);
  return *family;
}

std::string FamilyNames() {
  std::string names;
  for (const Family* family : kFamilies)
    names += (names.empty() ? "" : ", ") + std::string(family->model_type);
  return names;
}

StoredTensor StoredAs(const Family& family, std::string_view name) {
  constexpr std::string_view kLayers = "model.layers";
  const size_t dot = name.rfind('.');
  const std::string_view kind = name.substr(dot);  // ".weight", ".bias"
  std::string_view stem = name.substr(0, dot);
  StoredTensor stored;
  if (stem.starts_with(kLayers)) {
    const size_t inner = stem.find('.', kLayers.size() + 1) + 1;
    stored.name = Renamed(family, kLayers).name;
    stored.name += stem.substr(kLayers.size(), inner - kLayers.size());
    stem.remove_prefix(inner);
  }
  const Place place = Renamed(family, stem);
  stored.name += place.name;
  stored.name += kind;
  stored.part = place.part;
  stored.transposed = family.conv1d && stem.ends_with("_proj") && kind == ".weight";
  return stored;
}

bool IsIgnored(const Family& family, std::string_view name) {
  return std::any_of(family.ignored.begin(), family.ignored.end(),
                     [&](std::string_view suffix) { return name.ends_with(suffix); });
}

int64_t LargestWindow(const ModelConfig& config) {
  int64_t window = 0;
  for (const BlockSpec& block : config.blocks) window = std::max(window, block.attention.window);
  return window;
}

}  // namespace puzzle
