#include "model/files/stored_heads.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "io/error.h"
#include "model/families/family.h"

namespace puzzle {

namespace {
using Json = nlohmann::ordered_json;

constexpr const char* kField = "unpadded_heads";

bool IsPruned(const AttentionSpec& spec) {
  return spec.is_full() && spec.n_query_heads != 0;
}

// The fewest kv heads whose groups of query heads hold the real ones.
int64_t StoredKvHeads(const AttentionSpec& spec, const ModelConfig& config) {
  const int64_t group = spec.n_query_heads / spec.n_kv_heads;
  const bool free = FamilyOf(config).fields.kv_heads != nullptr;
  if (!free && group == 1) return config.n_heads;
  for (int64_t kv = spec.n_kv_heads; kv * group <= config.n_heads; ++kv)
    if (config.n_heads % kv == 0) return kv;
  return 0;
}

}  // namespace

ModelConfig StoredShape(const ModelConfig& config) {
  ModelConfig stored = config;
  for (size_t layer = 0; layer < stored.blocks.size(); ++layer) {
    AttentionSpec& spec = stored.blocks[layer].attention;
    if (!IsPruned(spec)) continue;
    const int64_t kv = StoredKvHeads(spec, config);
    if (kv == 0)
      throw Error(fmt::format("layer {}: attention {} cannot be filled up to {} query heads", layer,
                              Describe(spec), config.n_heads));
    spec.n_kv_heads = kv;
    spec.n_query_heads = 0;
  }
  return stored;
}

void AddUnpaddedHeads(const ModelConfig& config, Json& json) {
  Json layers = Json::array();
  bool any = false;
  for (const BlockSpec& block : config.blocks) {
    const AttentionSpec& spec = block.attention;
    any = any || IsPruned(spec);
    layers.push_back(IsPruned(spec) ? Json{{"num_attention_heads", spec.n_query_heads},
                                           {"num_key_value_heads", spec.n_kv_heads}}
                                    : Json(nullptr));
  }
  if (any) json[kField] = layers;
}

void ReadUnpaddedHeads(const HfFields& fields, ModelConfig& config) {
  const Json* layers = fields.Find(kField);
  if (layers == nullptr) return;
  if (!layers->is_array() || layers->size() != config.blocks.size())
    fields.Wrong(kField, "a list with an entry per layer", *layers);
  const ModelConfig stored = config;
  for (size_t i = 0; i < layers->size(); ++i) {
    if ((*layers)[i].is_null()) continue;
    const HfFields heads((*layers)[i], fmt::format("{}: {}[{}]", fields.where(), kField, i));
    AttentionSpec& spec = config.blocks[i].attention;
    spec.n_query_heads = heads.Int("num_attention_heads");
    spec.n_kv_heads = heads.Int("num_key_value_heads");
    if (spec.n_kv_heads < 1 || spec.n_query_heads < 1 || spec.n_query_heads > config.n_heads ||
        spec.n_query_heads % spec.n_kv_heads != 0)
      throw Error(fmt::format("{}: {} kv heads for {} query heads, the model has {}", heads.where(),
                              spec.n_kv_heads, spec.n_query_heads, config.n_heads));
  }
  if (StoredShape(config).blocks != stored.blocks)
    throw Error(fmt::format("{}: {} does not fit the blocks that the other fields describe",
                            fields.where(), kField));
}

}  // namespace puzzle
