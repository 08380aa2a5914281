// What a model is made of, which variants its layers can have, and what a budget of memory would
// take from it: counting alone, before anything is trained. No libtorch. Values; the functions are
// thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/shape/variant.h"
#include "nodes/cost/serving_costs.h"

namespace puzzle {

/// Parameters by part; together they are those of the model.
struct ParameterParts {
  int64_t embedding = 0;
  int64_t positions = 0;  // learned ones
  int64_t attention = 0;  // of all blocks, norms included
  int64_t ffn = 0;
  int64_t final_norm = 0;
  int64_t head = 0;  // 0: it is the embedding

  [[nodiscard]] int64_t in_blocks() const { return attention + ffn; }
  [[nodiscard]] int64_t total() const {
    return embedding + positions + in_blocks() + final_norm + head;
  }
};

[[nodiscard]] ParameterParts CountParts(const ModelConfig& config);

/// Bytes of the KV cache that one more token takes in all layers, windows that are full aside.
[[nodiscard]] double KvBytesPerToken(const ModelConfig& config, const std::string& kv);

/// The types of weights and KV cache that a model is served in unless somebody says otherwise:
/// "fp32", "bf16" or "fp16", as it is stored.
[[nodiscard]] std::string ServedType(const ModelConfig& config);

/// How many variants are worth a try.
enum class Menu {
  kSmall,  // the ends: one kv head, none, three quarters and half of the channels
  kUsual,  // every number of kv heads that divides the parent's, channels in steps of an eighth
  kAll,    // fewer query heads and linear maps too
};

/// Names of variants that every layer of `config` can have and that are a shape of their own in
/// some layer, by sub-block and size. Percentages are of a layer's channels.
[[nodiscard]] std::vector<std::string> VariantMenu(const ModelConfig& config, Menu menu);

/// A layer in which the name of a variant means a shape that is there already.
struct Repetition {
  int64_t layer = 0;
  std::string variant;

  bool operator==(const Repetition&) const = default;
};

/// Where names mean the parent's own sub-block or the shape of a name before them: layers differ,
/// or percentages of a small FFN round alike. REQUIRES: every layer can have all of `variants`.
[[nodiscard]] std::vector<Repetition> RepeatedVariants(const ModelConfig& config,
                                                       const std::vector<std::string>& variants);

/// What one variant leaves.
struct VariantShare {
  std::string name;       // as in a graph: "ffn:50%"
  std::string shape;      // what it is here: "256"
  double parameters = 0;  // of the sub-block
  double of_parent = 0;   // those, of the parent's sub-block
  double of_model = 0;    // what the model keeps when one such layer has it
  double kv_bytes_per_token = 0;
};

/// Layers that follow each other and are alike.
struct LayerGroup {
  int64_t first = 0, last = 0;
  BlockSpec block;
  std::vector<VariantShare> variants;  // of one of these layers
};

[[nodiscard]] std::vector<LayerGroup> GroupLayers(const ModelConfig& config,
                                                  const std::vector<std::string>& variants,
                                                  const std::string& kv);

/// What would be left within a limit on memory if it came from one place only, the same in all
/// layers. Nothing: that alone does not reach it.
struct BudgetAnswer {
  double share = 1;                    // of the model's memory
  double memory_mib = 0;               // the limit
  std::optional<int64_t> ffn_percent;  // of the channels of every FFN, 0: no FFN
  std::optional<int64_t> kv_heads;     // at most so many in every layer, 0: no attention
  std::optional<int64_t> blocks;       // whole ones that stay, the largest going first
};

/// Memory of `scenario` that no variant takes away: embedding, final norm and head.
[[nodiscard]] double FloorMib(const ModelConfig& config, const ServingScenario& scenario);
[[nodiscard]] BudgetAnswer AskBudget(const ModelConfig& config, const ServingScenario& scenario,
                                     double share);

}  // namespace puzzle
