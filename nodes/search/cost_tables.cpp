#include "nodes/search/cost_tables.h"

#include <fmt/format.h>

#include <algorithm>

#include "io/error.h"
#include "nodes/measure/score_objectives.h"

namespace puzzle {
namespace {

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

// A score that goes by the name of a row and means something else: a percentage of channels was
// rounded in two ways, and what was measured would be left out for a reason that nobody sees.
void CheckNamesakes(const std::vector<Score>& scores, const CostTable::Row& row) {
  for (const Score& score : scores) {
    if (score.layer != row.layer || score.variant != row.variant || score.spec == row.spec)
      continue;
    throw Error(fmt::format(
        "layer {}: {} is {} in the costs and {} in the scores; count and train variants "
        "with the same `multiple_of`, of the same parent",
        row.layer, row.variant, VariantName(row.spec), VariantName(score.spec)));
  }
}

const Score* FindScore(const std::vector<Score>& scores, const CostTable::Row& row) {
  const auto is_of_row = [&](const Score& score) {
    return score.layer == row.layer && score.spec == row.spec;
  };
  const auto it = std::find_if(scores.begin(), scores.end(), is_of_row);
  if (it == scores.end()) {
    CheckNamesakes(scores, row);
    return nullptr;
  }
  if (std::find_if(it + 1, scores.end(), is_of_row) != scores.end())
    throw Error(fmt::format("layer {}: there are two scores of {}", row.layer, row.variant));
  return &*it;
}

// A variant, and what it puts into the child.
struct Option {
  VariantTable::Variant variant;
  std::vector<Choice::Pick> picks;
};

// Shapes that a config.json without block_configs can give to all layers alike.
std::string ShapeOf(const AttentionSpec& spec, const ModelConfig& parent) {
  if (!spec.is_full()) return "";
  std::string shape = fmt::format("{} kv heads", spec.n_kv_heads);
  if (spec.n_query_heads > 0 && spec.n_query_heads != parent.n_heads) {
    shape += fmt::format(" with {} query heads", spec.n_query_heads);
  }
  return shape;
}

std::string ShapeOf(const FfnSpec& spec) {
  return spec.is_full() ? fmt::format("{} channels", spec.size) : "";
}

void SetShapes(const VariantSpec& spec, const ModelConfig& parent, VariantTable::Variant& variant) {
  for (const VariantSpec& part : PartsOf(spec)) {
    if (const auto* attention = std::get_if<AttentionSpec>(&part)) {
      variant.attention = ShapeOf(*attention, parent);
    } else {
      variant.ffn = ShapeOf(std::get<FfnSpec>(part));
    }
  }
}

// What the scores of a search measured: figures on text, and in tasks where one of them has some.
std::vector<std::string> MeasuredObjectives(const std::vector<Score>& scores) {
  std::vector<std::string> names = ScoreObjectives();
  if (std::any_of(scores.begin(), scores.end(), [](const Score& s) { return s.tasks.has_value(); }))
    return names;
  std::erase_if(names,
                [](const std::string& name) { return name == kTaskAccuracy || name == kTaskKl; });
  return names;
}

Option OptionOf(const CostTable::Row& row, const std::vector<Score>& scores,
                const ModelConfig& parent) {
  Option option{{row.variant, row.costs, {}}, {{row.layer, row.variant, row.spec}}};
  SetShapes(row.spec, parent, option.variant);
  const Score* score = FindScore(scores, row);
  for (const std::string& objective : MeasuredObjectives(scores)) {
    if (score != nullptr) {
      option.variant.metrics.push_back(IncreaseOf(*score, objective));
    } else {
      option.variant.metrics.push_back(row.parents_own ? std::optional<double>(0) : std::nullopt);
    }
  }
  return option;
}

VariantTable EmptyTable(const CostTable& costs, const std::vector<Score>& scores) {
  VariantTable table;
  table.resources = costs.resources;
  table.metrics = MeasuredObjectives(scores);
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
    if (attention->is_full()) {
      return fmt::format("attention = {} (parent * {}%)", ShapeOf(*attention, parent),
                         percent(attention->n_kv_heads, std::get<AttentionSpec>(own).n_kv_heads));
    }
    return attention->is_linear() ? "attention = linear" : "attention = no_op (parent * 0%)";
  }
  const auto& ffn = std::get<FfnSpec>(spec);
  if (ffn.is_full()) {
    return fmt::format("ffn = intermediate size {} (parent * {}%)", ffn.size,
                       percent(ffn.size, std::get<FfnSpec>(own).size));
  }
  return ffn.is_linear() ? "ffn = linear" : "ffn = no_op (parent * 0%)";
}

// The rows of one layer.
struct LayerRows {
  int64_t layer = 0;
  std::vector<CostTable::Row> attention, ffn, whole;
};

const CostTable::Row* FindRow(const std::vector<CostTable::Row>& rows, const VariantSpec& spec) {
  const auto it = std::find_if(rows.begin(), rows.end(),
                               [&](const CostTable::Row& row) { return row.spec == spec; });
  return it == rows.end() ? nullptr : &*it;
}

// A whole block that was scored but is not listed costs what its parts do.
CostTable::Row WholeRow(const LayerRows& rows, const Score& score) {
  const auto& spec = std::get<BlockSpec>(score.spec);
  const CostTable::Row* parts[] = {FindRow(rows.attention, spec.attention),
                                   FindRow(rows.ffn, spec.ffn)};
  CostTable::Row whole{rows.layer, score.variant, spec, true, {}};
  for (const CostTable::Row* part : parts) {
    if (part == nullptr)
      throw Error(fmt::format("layer {}: there is a score of {}, but the costs lack a part of it",
                              rows.layer, score.variant));
    whole.parents_own = whole.parents_own && part->parents_own;
    whole.costs.resize(part->costs.size());
    for (size_t r = 0; r < part->costs.size(); ++r) whole.costs[r] += part->costs[r];
  }
  return whole;
}

std::vector<LayerRows> RowsByLayer(const CostTable& costs, const std::vector<Score>& scores) {
  std::vector<LayerRows> layers(static_cast<size_t>(costs.parent.n_layers()));
  for (const CostTable::Row& row : costs.rows) {
    LayerRows& rows = layers.at(static_cast<size_t>(row.layer));
    rows.layer = row.layer;
    const SubBlock which = WhichSubBlock(row.spec);
    auto& list = which == SubBlock::kAttention ? rows.attention
                 : which == SubBlock::kFfn     ? rows.ffn
                                               : rows.whole;
    list.push_back(row);
  }
  for (const Score& score : scores) {
    if (WhichSubBlock(score.spec) != SubBlock::kBoth) continue;
    if (score.layer >= costs.parent.n_layers())
      throw Error(fmt::format("there is a score of layer {}, but the costs end with layer {}",
                              score.layer, costs.parent.n_layers() - 1));
    LayerRows& rows = layers[static_cast<size_t>(score.layer)];
    if (FindRow(rows.whole, score.spec) == nullptr) rows.whole.push_back(WholeRow(rows, score));
  }
  return layers;
}

Option Combined(const Option& attention, const Option& ffn, const std::string& name) {
  Option both{{name, attention.variant.costs, attention.variant.metrics},
              {attention.picks[0], ffn.picks[0]}};
  VariantTable::Variant& sum = both.variant;
  sum.attention = attention.variant.attention;
  sum.ffn = ffn.variant.ffn;
  for (size_t r = 0; r < sum.costs.size(); ++r) sum.costs[r] += ffn.variant.costs[r];
  for (size_t m = 0; m < sum.metrics.size(); ++m) {
    if (sum.metrics[m] && ffn.variant.metrics[m]) {
      *sum.metrics[m] += *ffn.variant.metrics[m];
    } else {
      sum.metrics[m].reset();
    }
  }
  return both;
}

using BlockName = std::string (*)(const BlockSpec&, const ModelConfig&, int64_t layer);

std::string LibraryName(const BlockSpec& spec, const ModelConfig& parent, int64_t layer) {
  return PartName(spec.attention, parent, layer) + "\t&&\t" + PartName(spec.ffn, parent, layer);
}

// Everything that a layer may become, the parent's own block first.
std::vector<Option> BlockOptions(const LayerRows& rows, const std::vector<Score>& scores,
                                 const ModelConfig& parent, BlockName sum_name,
                                 BlockName whole_name) {
  std::vector<Option> options;
  std::vector<BlockSpec> specs;
  for (const CostTable::Row& attention : rows.attention) {
    for (const CostTable::Row& ffn : rows.ffn) {
      specs.push_back({std::get<AttentionSpec>(attention.spec), std::get<FfnSpec>(ffn.spec)});
      options.push_back(Combined(OptionOf(attention, scores, parent), OptionOf(ffn, scores, parent),
                                 sum_name(specs.back(), parent, rows.layer)));
    }
  }
  for (const CostTable::Row& row : rows.whole) {
    const auto& spec = std::get<BlockSpec>(row.spec);
    Option whole = OptionOf(row, scores, parent);
    whole.variant.name = whole_name(spec, parent, rows.layer);
    const auto same = std::find(specs.begin(), specs.end(), spec);
    if (same == specs.end()) {
      options.push_back(std::move(whole));
      continue;
    }
    Option& sum = options[static_cast<size_t>(same - specs.begin())];
    if (FindScore(scores, row) != nullptr) {
      sum = std::move(whole);
    } else if (whole.variant.name != sum.variant.name) {
      options.push_back(std::move(whole));  // without metrics: who searches is told
    }
  }
  return options;
}

void AddGroup(std::string name, std::vector<Option> options, OptionTable& table) {
  auto& group = table.table.groups.emplace_back();
  auto& picks = table.picks.emplace_back();
  group.name = std::move(name);
  for (Option& option : options) {
    group.variants.push_back(std::move(option.variant));
    picks.push_back(std::move(option.picks));
  }
}

void AddSubBlockGroup(const std::vector<CostTable::Row>& rows, const std::vector<Score>& scores,
                      const ModelConfig& parent, OptionTable& table) {
  std::vector<Option> options;
  for (const CostTable::Row& row : rows) options.push_back(OptionOf(row, scores, parent));
  const CostTable::Row& own = rows.front();
  AddGroup(fmt::format("layer {} {}", own.layer, SubBlockName(WhichSubBlock(own.spec))),
           std::move(options), table);
}

}  // namespace

std::vector<CostTable> ByBatch(std::vector<CostTable> tables) {
  if (tables.empty()) throw Error("there are no costs: the port `costs` stands for no steps");
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

OptionTable TableOf(const CostTable& costs, const std::vector<Score>& scores) {
  OptionTable table{EmptyTable(costs, scores), {}};
  for (const LayerRows& rows : RowsByLayer(costs, scores)) {
    if (rows.whole.empty()) {
      AddSubBlockGroup(rows.attention, scores, costs.parent, table);
      AddSubBlockGroup(rows.ffn, scores, costs.parent, table);
      continue;
    }
    const BlockName sum_name = [](const BlockSpec& spec, const ModelConfig&, int64_t) {
      return VariantName(spec.attention) + ' ' + VariantName(spec.ffn);
    };
    const BlockName whole_name = [](const BlockSpec& spec, const ModelConfig&, int64_t) {
      return VariantName(spec);
    };
    AddGroup(fmt::format("layer {}", rows.layer),
             BlockOptions(rows, scores, costs.parent, sum_name, whole_name), table);
  }
  return table;
}

VariantTable BlockTableOf(const CostTable& costs, const std::vector<Score>& scores) {
  OptionTable table{EmptyTable(costs, scores), {}};
  for (const LayerRows& rows : RowsByLayer(costs, scores)) {
    AddGroup(fmt::format("layer_{}", rows.layer),
             BlockOptions(rows, scores, costs.parent, LibraryName, LibraryName), table);
  }
  return std::move(table.table);
}

}  // namespace puzzle
