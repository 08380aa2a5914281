#include "nodes/cost/anatomy.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "io/error.h"
#include "model/block/counts.h"

namespace puzzle {
namespace {

constexpr int64_t kMultipleOf = 8;  // of FFN channels, as kinds have it by default

bool EveryLayerCan(const std::string& name, const ModelConfig& config) {
  for (int64_t layer = 0; layer < config.n_layers(); ++layer) {
    try {
      (void)ResolveVariant(name, config, layer, kMultipleOf);
    } catch (const Error&) {
      return false;
    }
  }
  return true;
}

// Numbers of kv heads of the parent, all layers together.
std::set<int64_t> HeadsOf(const ModelConfig& config) {
  std::set<int64_t> heads;
  for (const BlockSpec& block : config.blocks) {
    if (block.attention.is_full()) heads.insert(block.attention.n_kv_heads);
  }
  return heads;
}

// Numbers below the parent's that divide those of every layer, the largest first.
std::vector<int64_t> FewerHeads(const ModelConfig& config) {
  const std::set<int64_t> own = HeadsOf(config);
  std::vector<int64_t> fewer;
  if (own.empty()) return fewer;
  for (int64_t n = *own.rbegin() - 1; n >= 1; --n) {
    const bool divides_all =
        std::all_of(own.begin(), own.end(), [n](int64_t heads) { return heads % n == 0; });
    if (divides_all) fewer.push_back(n);
  }
  return fewer;
}

std::vector<std::string> AttentionNames(const ModelConfig& config, Menu menu) {
  const std::vector<int64_t> heads = FewerHeads(config);
  std::vector<std::string> names;
  for (const int64_t n : heads) {
    if (menu == Menu::kSmall && n != heads.back()) continue;
    names.push_back(fmt::format("attn:kv{}", n));
    const std::set<int64_t> own = HeadsOf(config);
    if (menu == Menu::kAll && own.size() == 1)
      names.push_back(fmt::format("attn:kv{}q{}", n, n * (config.n_heads / *own.begin())));
  }
  if (menu != Menu::kSmall) names.emplace_back("attn:linear");
  names.emplace_back("attn:none");
  return names;
}

std::vector<std::string> FfnNames(Menu menu) {
  switch (menu) {
    case Menu::kSmall:
      return {"ffn:75%", "ffn:50%", "ffn:none"};
    case Menu::kUsual:
      return {"ffn:87%", "ffn:75%", "ffn:62%", "ffn:50%", "ffn:37%", "ffn:25%", "ffn:none"};
    case Menu::kAll:
      return {"ffn:87%", "ffn:75%", "ffn:62%",    "ffn:50%", "ffn:37%",
              "ffn:25%", "ffn:12%", "ffn:linear", "ffn:none"};
  }
  throw BugError("unknown menu");
}

double MemoryOf(const ModelConfig& config, const ServingScenario& scenario) {
  return CountModel(config, scenario).memory_mib();
}

// The largest of `values`, which come largest first, at which the changed model fits. Sizes fall
// with them.
std::optional<int64_t> LargestThatFits(const ModelConfig& config, const ServingScenario& scenario,
                                       double limit_mib, const std::vector<int64_t>& values,
                                       const std::function<void(int64_t, ModelConfig&)>& change) {
  for (const int64_t value : values) {
    ModelConfig changed = config;
    change(value, changed);
    if (MemoryOf(changed, scenario) <= limit_mib) return value;
  }
  return std::nullopt;
}

void KeepChannels(int64_t percent, ModelConfig& config) {
  const ModelConfig parent = config;
  for (int64_t layer = 0; layer < parent.n_layers(); ++layer) {
    FfnSpec& ffn = config.blocks[static_cast<size_t>(layer)].ffn;
    if (!ffn.is_full()) continue;
    if (percent == 0) {
      ffn = {SubBlockForm::kNone, 0};
    } else {
      Place(ResolveVariant(fmt::format("ffn:{}%", percent), parent, layer, kMultipleOf),
            config.blocks[static_cast<size_t>(layer)]);
    }
  }
}

void KeepHeads(int64_t heads, ModelConfig& config) {
  for (BlockSpec& block : config.blocks) {
    if (!block.attention.is_full()) continue;
    if (heads == 0) {
      block.attention = {SubBlockForm::kNone, 0};
    } else {
      block.attention.n_kv_heads = std::min(block.attention.n_kv_heads, heads);
    }
  }
}

// Takes whole blocks out, those with most memory first.
void KeepBlocks(int64_t count, const ServingScenario& scenario, ModelConfig& config) {
  std::vector<std::pair<double, size_t>> sizes;
  for (size_t layer = 0; layer < config.blocks.size(); ++layer) {
    sizes.emplace_back(CountSubBlock(config.blocks[layer], config, scenario).memory_mib(), layer);
  }
  std::stable_sort(sizes.begin(), sizes.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  const size_t dropped = config.blocks.size() - static_cast<size_t>(count);
  for (size_t i = 0; i < dropped; ++i) {
    config.blocks[sizes[i].second] = {{SubBlockForm::kNone, 0}, {SubBlockForm::kNone, 0}};
  }
}

std::vector<int64_t> Descending(int64_t from) {
  std::vector<int64_t> values;
  for (int64_t value = from; value >= 0; --value) values.push_back(value);
  return values;
}

VariantShare ShareOf(const std::string& name, const ModelConfig& config, int64_t layer,
                     double total, const std::string& kv) {
  const VariantSpec spec = ResolveVariant(name, config, layer, kMultipleOf);
  const VariantSpec own = ParentVariant(config, layer, WhichSubBlock(spec));
  const auto before = static_cast<double>(CountParameters(own, config));
  VariantShare share;
  share.name = name;
  const std::string full = VariantName(spec);
  share.shape = full.substr(full.find(':') + 1);
  share.parameters = static_cast<double>(CountParameters(spec, config));
  share.of_parent = before > 0 ? share.parameters / before : 0;
  share.of_model = (total - before + share.parameters) / total;
  if (const auto* attention = std::get_if<AttentionSpec>(&spec)) {
    ModelConfig alone = config;
    alone.blocks = {{*attention, {SubBlockForm::kNone, 0}}};
    share.kv_bytes_per_token = KvBytesPerToken(alone, kv);
  }
  return share;
}

}  // namespace

ParameterParts CountParts(const ModelConfig& config) {
  const int64_t matrix = config.vocab_size * config.hidden_size;
  ParameterParts parts;
  parts.embedding = matrix;
  parts.final_norm = block::CountNorm(config);
  parts.head = config.tied_embeddings ? 0 : matrix;
  parts.positions =
      CountNonBlockParameters(config) - parts.embedding - parts.final_norm - parts.head;
  for (const BlockSpec& block : config.blocks) {
    parts.attention += CountParameters(block.attention, config);
    parts.ffn += CountParameters(block.ffn, config);
  }
  return parts;
}

double KvBytesPerToken(const ModelConfig& config, const std::string& kv) {
  double bytes = 0;
  for (const BlockSpec& block : config.blocks) {
    bytes += 2 * static_cast<double>(block.attention.n_kv_heads * config.head_dim) * BytesOf(kv);
  }
  return bytes;
}

std::string ServedType(const ModelConfig& config) {
  switch (config.stored_dtype) {
    case DType::kF16:
      return "fp16";
    case DType::kBF16:
      return "bf16";
    default:
      return "fp32";
  }
}

std::vector<std::string> VariantMenu(const ModelConfig& config, Menu menu) {
  std::vector<std::string> names = AttentionNames(config, menu);
  for (std::string& name : FfnNames(menu)) names.push_back(std::move(name));
  std::erase_if(names, [&](const std::string& name) { return !EveryLayerCan(name, config); });
  std::map<std::string, int64_t> repeated;  // in how many layers
  for (const Repetition& repetition : RepeatedVariants(config, names))
    ++repeated[repetition.variant];
  std::erase_if(names,
                [&](const std::string& name) { return repeated[name] == config.n_layers(); });
  return names;
}

std::vector<Repetition> RepeatedVariants(const ModelConfig& config,
                                         const std::vector<std::string>& variants) {
  std::vector<Repetition> repeated;
  for (int64_t layer = 0; layer < config.n_layers(); ++layer) {
    const BlockSpec& block = config.blocks[static_cast<size_t>(layer)];
    std::set<std::string> seen = {VariantName(block.attention), VariantName(block.ffn)};
    for (const std::string& name : variants) {
      const VariantSpec spec = ResolveVariant(name, config, layer, kMultipleOf);
      if (!seen.insert(VariantName(spec)).second) repeated.push_back({layer, name});
    }
  }
  return repeated;
}

std::vector<LayerGroup> GroupLayers(const ModelConfig& config,
                                    const std::vector<std::string>& variants,
                                    const std::string& kv) {
  const auto total = static_cast<double>(CountParts(config).total());
  std::vector<LayerGroup> groups;
  for (int64_t layer = 0; layer < config.n_layers(); ++layer) {
    const BlockSpec& block = config.blocks[static_cast<size_t>(layer)];
    if (!groups.empty() && groups.back().block == block) {
      groups.back().last = layer;
      continue;
    }
    LayerGroup group{layer, layer, block, {}};
    for (const std::string& name : variants)
      group.variants.push_back(ShareOf(name, config, layer, total, kv));
    groups.push_back(std::move(group));
  }
  return groups;
}

double FloorMib(const ModelConfig& config, const ServingScenario& scenario) {
  return CountNonBlock(config, scenario).memory_mib();
}

BudgetAnswer AskBudget(const ModelConfig& config, const ServingScenario& scenario, double share) {
  BudgetAnswer answer;
  answer.share = share;
  answer.memory_mib = share * MemoryOf(config, scenario);
  const auto largest = [&](const std::vector<int64_t>& values,
                           const std::function<void(int64_t, ModelConfig&)>& change) {
    return LargestThatFits(config, scenario, answer.memory_mib, values, change);
  };
  answer.ffn_percent = largest(Descending(100), KeepChannels);
  std::vector<int64_t> heads = FewerHeads(config);
  if (const std::set<int64_t> own = HeadsOf(config); !own.empty())
    heads.insert(heads.begin(), *own.rbegin());
  heads.push_back(0);
  answer.kv_heads = largest(heads, KeepHeads);
  answer.blocks = largest(Descending(config.n_layers()), [&](int64_t count, ModelConfig& changed) {
    KeepBlocks(count, scenario, changed);
  });
  return answer;
}

}  // namespace puzzle
