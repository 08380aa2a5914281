#include "nodes/cost_tables.h"

#include <fmt/format.h>

#include <algorithm>

#include "io/error.h"

namespace puzzle {
namespace {

const std::vector<std::string> kMetrics = {"kl", "lm_loss", "cosine"};

// Scenarios that one search may compare: equal but for the batch size.
void CheckComparable(const ServingScenario& a, ServingScenario b) {
  b.batch = a.batch;
  if (a == b) return;
  throw Error(
      fmt::format("costs of different scenarios: prefill {} + generation {} with weights in "
                  "{} and KV cache in {}, and {} + {} with {} and {}",
                  a.prefill_length, a.generation_length, a.weights, a.kv, b.prefill_length,
                  b.generation_length, b.weights, b.kv));
}

const Score* FindScore(const std::vector<Score>& scores, const CostTable::Row& row) {
  const auto it = std::find_if(scores.begin(), scores.end(), [&](const Score& score) {
    return score.layer == row.layer && score.spec == row.spec;
  });
  return it == scores.end() ? nullptr : &*it;
}

VariantTable::Variant VariantOf(const CostTable::Row& row, const std::vector<Score>& scores) {
  VariantTable::Variant variant{row.variant, row.costs, {}};
  const Score* score = FindScore(scores, row);
  for (const std::string& metric : kMetrics) {
    if (score != nullptr) {
      variant.metrics.push_back(score->Value(metric));
    } else {
      variant.metrics.push_back(row.parents_own ? std::optional<double>(0) : std::nullopt);
    }
  }
  return variant;
}

VariantTable EmptyTable(const CostTable& costs) {
  VariantTable table;
  table.resources = costs.resources;
  table.metrics = kMetrics;
  table.fixed = costs.fixed;
  table.batch = static_cast<double>(costs.scenario.batch);
  table.tokens = table.batch * static_cast<double>(costs.scenario.generation_length);
  return table;
}

std::string PartName(const VariantSpec& spec, const ModelConfig& parent, int64_t layer) {
  const SubBlock which = WhichSubBlock(spec);
  const VariantSpec own = ParentVariant(parent, layer, which);
  const auto percent = [](int64_t part, int64_t whole) {
    return whole > 0 ? 100 * part / whole : 100;
  };
  if (const auto* attention = std::get_if<AttentionSpec>(&spec)) {
    if (attention->form == SubBlockForm::kFull) {
      return fmt::format("attention = {} kv heads (parent * {}%)", attention->n_kv_heads,
                         percent(attention->n_kv_heads, std::get<AttentionSpec>(own).n_kv_heads));
    }
    return attention->form == SubBlockForm::kLinear ? "attention = linear"
                                                    : "attention = no_op (parent * 0%)";
  }
  const auto& ffn = std::get<FfnSpec>(spec);
  if (ffn.form == SubBlockForm::kFull) {
    return fmt::format("ffn = intermediate size {} (parent * {}%)", ffn.size,
                       percent(ffn.size, std::get<FfnSpec>(own).size));
  }
  return ffn.form == SubBlockForm::kLinear ? "ffn = linear" : "ffn = no_op (parent * 0%)";
}

// Rows [first, last) of one sub-block of one layer.
struct Slot {
  size_t first = 0;
  size_t last = 0;
};

std::vector<Slot> SlotsOf(const CostTable& costs) {
  std::vector<Slot> slots;
  for (size_t i = 0; i < costs.rows.size(); ++i) {
    const bool same = i > 0 && costs.rows[i].layer == costs.rows[i - 1].layer &&
                      WhichSubBlock(costs.rows[i].spec) == WhichSubBlock(costs.rows[i - 1].spec);
    if (!same) slots.push_back({i, i});
    slots.back().last = i + 1;
  }
  return slots;
}

VariantTable::Variant Combined(const VariantTable::Variant& attention,
                               const VariantTable::Variant& ffn) {
  VariantTable::Variant both{attention.name + "\t&&\t" + ffn.name, attention.costs,
                             attention.metrics};
  for (size_t r = 0; r < both.costs.size(); ++r) both.costs[r] += ffn.costs[r];
  for (size_t m = 0; m < both.metrics.size(); ++m) {
    if (both.metrics[m] && ffn.metrics[m]) {
      *both.metrics[m] += *ffn.metrics[m];
    } else {
      both.metrics[m].reset();
    }
  }
  return both;
}

}  // namespace

std::vector<CostTable> ByBatch(std::vector<CostTable> tables) {
  std::sort(tables.begin(), tables.end(), [](const CostTable& a, const CostTable& b) {
    return a.scenario.batch < b.scenario.batch;
  });
  for (size_t i = 1; i < tables.size(); ++i) {
    CheckComparable(tables[0].scenario, tables[i].scenario);
    if (!(tables[0].parent == tables[i].parent)) {
      throw Error("cost tables of different models cannot be searched together");
    }
    if (tables[i].scenario.batch == tables[i - 1].scenario.batch) {
      throw Error(fmt::format("there are two cost tables of batch {}", tables[i].scenario.batch));
    }
  }
  return tables;
}

VariantTable TableOf(const CostTable& costs, const std::vector<Score>& scores) {
  VariantTable table = EmptyTable(costs);
  for (const Slot& slot : SlotsOf(costs)) {
    const CostTable::Row& row = costs.rows[slot.first];
    auto& group = table.groups.emplace_back();
    group.name = fmt::format("layer {} {}", row.layer, SubBlockName(WhichSubBlock(row.spec)));
    for (size_t i = slot.first; i < slot.last; ++i) {
      group.variants.push_back(VariantOf(costs.rows[i], scores));
    }
  }
  return table;
}

VariantTable BlockTableOf(const CostTable& costs, const std::vector<Score>& scores) {
  VariantTable table = EmptyTable(costs);
  const std::vector<Slot> slots = SlotsOf(costs);
  PUZZLE_CHECK(slots.size() % 2 == 0, "an attention and an FFN in every layer");
  for (size_t s = 0; s < slots.size(); s += 2) {
    auto& group = table.groups.emplace_back();
    group.name = fmt::format("layer_{}", costs.rows[slots[s].first].layer);
    for (size_t a = slots[s].first; a < slots[s].last; ++a) {
      for (size_t f = slots[s + 1].first; f < slots[s + 1].last; ++f) {
        VariantTable::Variant attention = VariantOf(costs.rows[a], scores);
        VariantTable::Variant ffn = VariantOf(costs.rows[f], scores);
        attention.name = PartName(costs.rows[a].spec, costs.parent, costs.rows[a].layer);
        ffn.name = PartName(costs.rows[f].spec, costs.parent, costs.rows[f].layer);
        group.variants.push_back(Combined(attention, ffn));
      }
    }
  }
  return table;
}

}  // namespace puzzle
