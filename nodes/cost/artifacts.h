// What steps hand to each other: what variants cost to serve. Every artifact is a value with a type
// name, a form in an archive and a size in memory; scalar attributes appear in records and
// summaries. Immutable once made, hence shared by threads.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/archive.h"
#include "model/shape/config.h"
#include "model/shape/variant.h"
#include "nodes/cost/serving_costs.h"

namespace puzzle {

/// What every variant of every sub-block costs in one scenario.
struct CostTable {
  static constexpr std::string_view kType = "costs";
  struct Row {
    int64_t layer = 0;
    std::string variant;
    VariantSpec spec;
    bool parents_own = false;
    std::vector<double> costs;  // one per resource
  };
  ModelConfig parent;
  ServingScenario scenario;
  std::string timing;  // where times come from: "" (none), "estimate for ..."
  std::vector<std::string> resources;
  std::vector<double> fixed;         // what the model costs beside its blocks
  std::vector<double> parent_total;  // fixed included
  // By layer, attention before FFN before whole blocks, the parent's own sub-blocks first.
  std::vector<Row> rows;

  void Save(ArchiveWriter& out) const;
  static CostTable Load(std::shared_ptr<const ArchiveReader> in);
  [[nodiscard]] size_t ResidentBytes() const { return rows.size() * 128; }
};

}  // namespace puzzle
