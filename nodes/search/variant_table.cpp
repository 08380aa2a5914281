#include "nodes/search/variant_table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/percentage.h"

namespace puzzle {

using nlohmann::json;

namespace {

constexpr const char* kThroughput = "throughput";

std::string Listed(std::vector<std::string> names) {
  return names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "));
}

std::string UnknownMetric(const std::string& metric, const std::vector<std::string>& metrics) {
  return fmt::format("objective: unknown metric \"{}\"; there are {}", metric, Listed(metrics));
}

std::optional<size_t> FindName(const std::vector<std::string>& names, const std::string& name) {
  const auto it = std::find(names.begin(), names.end(), name);
  if (it == names.end()) return std::nullopt;
  return static_cast<size_t>(it - names.begin());
}

// Targets of serving are sums of costs under another name.
std::string CostName(const std::string& name) {
  if (name == "latency_ms") return "runtime_ms";
  if (name == "time_to_first_token_ms") return "prefill_ms";
  return name;
}

// Throws Error when the table does not have it.
size_t FindResource(const VariantTable& table, const std::string& name, const std::string& where) {
  if (const auto index = FindName(table.resources, name)) return *index;
  const std::string cost = CostName(name);
  if (const auto index = FindName(table.resources, cost)) return *index;
  throw Error(fmt::format("{}: {} \"{}\"; there are {}", where,
                          cost == name ? "unknown resource" : name + " needs the resource", cost,
                          Listed(table.resources)));
}

// 900 or "70%" of `whole`.
double LimitValue(const json& value, double whole, const std::string& where) {
  if (value.is_number()) return value.get<double>();
  if (value.is_string()) {
    const std::string& text = value.get_ref<const std::string&>();
    if (const auto part = ParsePercentage(text)) return *part * whole;
  }
  throw Error(fmt::format("{}: expected a number or a percentage such as \"70%\", got {}", where,
                          value.dump()));
}

class LimitReader {
 public:
  explicit LimitReader(const VariantTable& table) : table_(table), parent_(table.ParentTotals()) {}

  void Read(const json& bounds, bool high) {
    const char* side = high ? "max" : "min";
    if (!bounds.is_object()) {
      throw Error(fmt::format("{}: expected {{resource: limit}}, got {}", side, bounds.dump()));
    }
    for (const auto& [name, value] : bounds.items()) {
      const std::string where = fmt::format("{}.{}", side, name);
      if (name == kThroughput) {
        ReadThroughput(value, high, where);
        continue;
      }
      const size_t resource = FindResource(table_, name, where);
      Bound(resource, high, LimitValue(value, parent_[resource], where));
    }
  }

  std::vector<MipLimit> Take() {
    for (const MipLimit& limit : limits_) {
      if (limit.low > limit.high) {
        throw Error(fmt::format("{}: min {:.12g} is above max {:.12g}", limit.resource, limit.low,
                                limit.high));
      }
    }
    return std::move(limits_);
  }

 private:
  void Bound(size_t resource, bool high, double value) {
    const std::string& name = table_.resources[resource];
    auto it = std::find_if(limits_.begin(), limits_.end(),
                           [&](const MipLimit& limit) { return limit.resource == name; });
    if (it == limits_.end()) {
      limits_.push_back({.resource = name, .fixed = table_.fixed[resource]});
      it = limits_.end() - 1;
    }
    if (high) {
      it->high = std::min(it->high, value);
    } else {
      it->low = std::max(it->low, value);
    }
  }

  // Tokens per second bound the time of a pass from the other side.
  void ReadThroughput(const json& value, bool high, const std::string& where) {
    const auto runtime = FindName(table_.resources, "runtime_ms");
    if (!runtime || table_.tokens <= 0) {
      throw Error(
          fmt::format("{}: throughput needs the resource runtime_ms and the batch size and "
                      "sequence length it was measured with; there are {}",
                      where, Listed(table_.resources)));
    }
    const double parent = 1000 * table_.tokens / parent_[*runtime];
    const double tokens_per_second = LimitValue(value, parent, where);
    if (!(tokens_per_second > 0)) {
      throw Error(fmt::format("{}: expected a positive number of tokens per second, got {}", where,
                              value.dump()));
    }
    Bound(*runtime, !high, 1000 * table_.tokens / tokens_per_second);
  }

  const VariantTable& table_;
  std::vector<double> parent_;
  std::vector<MipLimit> limits_;
};

// The first of the names under which parameters are counted, or nothing.
std::optional<size_t> FindParameters(const VariantTable& table) {
  for (const char* name : {"block_parameters", "parameters", "num_params"}) {
    if (const auto index = FindName(table.resources, name)) return index;
  }
  return std::nullopt;
}

size_t FindMinimized(const VariantTable& table, const LossLimit& loss) {
  const std::string& name = loss.minimize;
  if (name == kThroughput) {
    throw Error("loss.minimize: throughput is no cost; latency_ms is the time that limits it");
  }
  if (name.empty()) {
    if (const auto index = FindParameters(table)) return *index;
    throw Error(fmt::format("loss: no resource counts parameters; name what to minimize of {}",
                            Listed(table.resources)));
  }
  return FindResource(table, name, "loss.minimize");
}

// The weighted damage by a variant's metrics, against the parent's; nothing when one is missing.
class Scorer {
 public:
  Scorer(const VariantTable& table, const Objective& objective) : table_(table) {
    if (objective.empty()) throw Error("the objective names no metric");
    for (const auto& [metric, weight] : objective) {
      const auto index = FindName(table.metrics, metric);
      if (!index) throw Error(UnknownMetric(metric, table.metrics));
      terms_.push_back({*index, HigherIsBetter(metric) ? -weight : weight});
    }
  }

  // The name of a metric that the variant lacks, or nothing.
  [[nodiscard]] std::optional<std::string> Missing(const VariantTable::Variant& variant) const {
    for (const Term& term : terms_) {
      if (!variant.metrics[term.metric]) return table_.metrics[term.metric];
    }
    return std::nullopt;
  }

  [[nodiscard]] double Score(const VariantTable::Group& group,
                             const VariantTable::Variant& variant) const {
    double score = 0;
    for (const Term& term : terms_) {
      for (const auto* which : {&variant, &group.variants.front()}) {
        if (std::isfinite(*which->metrics[term.metric])) continue;
        throw Error(fmt::format("{}: variant \"{}\": its {} is not a number", group.name,
                                which->name, table_.metrics[term.metric]));
      }
      score +=
          term.weight * (*variant.metrics[term.metric] - *group.variants[0].metrics[term.metric]);
    }
    return score;
  }

 private:
  struct Term {
    size_t metric;
    double weight;  // of an increase
  };

  const VariantTable& table_;
  std::vector<Term> terms_;
};

}  // namespace

std::vector<double> VariantTable::ParentTotals() const {
  std::vector<double> totals = fixed;
  for (const Group& group : groups) {
    for (size_t r = 0; r < totals.size(); ++r) totals[r] += group.variants.front().costs[r];
  }
  return totals;
}

bool HigherIsBetter(std::string_view metric) {
  return metric.find("accuracy") != std::string_view::npos;
}

Objective ReadObjective(const json& value) {
  Objective objective;
  if (value.is_string()) {
    objective[value.get<std::string>()] = 1;
  } else if (value.is_object() && !value.empty()) {
    for (const auto& [metric, weight] : value.items()) {
      if (!weight.is_number()) {
        throw Error(fmt::format("objective.{}: expected a weight, got {}", metric, weight.dump()));
      }
      if (HigherIsBetter(metric) && weight < 0) {
        throw Error(
            fmt::format("objective.{}: {} asks for less of it; accuracies are maximised, "
                        "with weights from 0 on",
                        metric, weight.dump()));
      }
      objective[metric] = weight.get<double>();
    }
  } else {
    throw Error(
        fmt::format("objective: expected a metric or {{metric: weight}}, got {}", value.dump()));
  }
  return objective;
}

std::optional<std::string> CheckObjective(const json& objective,
                                          const std::vector<std::string>& metrics) {
  try {
    for (const auto& [metric, weight] : ReadObjective(objective))
      if (!FindName(metrics, metric)) return UnknownMetric(metric, metrics);
  } catch (const Error& error) {
    return error.what();
  }
  return std::nullopt;
}

std::optional<LossLimit> ReadLossLimit(const json& value) {
  constexpr const char* kExpected =
      "loss: expected {\"max\": 0.05}, with \"minimize\": \"memory_mib\" or another resource if it "
      "is not the parameters that should be few";
  if (!value.is_object()) throw Error(fmt::format("{}, got {}", kExpected, value.dump()));
  if (value.empty()) return std::nullopt;
  LossLimit loss;
  for (const auto& [name, member] : value.items()) {
    if (name == "minimize" && member.is_string() && !member.get_ref<const std::string&>().empty()) {
      loss.minimize = member.get<std::string>();
    } else if (name != "max" || !member.is_number() || !std::isfinite(member.get<double>())) {
      throw Error(fmt::format("{}, got {}", kExpected, value.dump()));
    }
  }
  if (!value.contains("max")) throw Error(fmt::format("{}, got {}", kExpected, value.dump()));
  loss.max = value["max"].get<double>();
  return loss;
}

std::vector<MipLimit> ReadLimits(const VariantTable& table, const json& min, const json& max) {
  LimitReader reader(table);
  reader.Read(max, true);
  reader.Read(min, false);
  return reader.Take();
}

std::string BoundedResource(const std::string& name) {
  return name == kThroughput ? "runtime_ms" : CostName(name);
}

SearchProblem MakeSearchProblem(const VariantTable& table, const Objective& objective,
                                const std::vector<MipLimit>& limits,
                                const std::function<void(const std::string&)>& warn) {
  const Scorer scorer(table, objective);
  SearchProblem search{{{}, limits}, {}};
  std::vector<size_t> limited;
  for (const MipLimit& limit : limits) {
    limited.push_back(FindName(table.resources, limit.resource).value());
  }
  for (const VariantTable::Group& group : table.groups) {
    auto& options = search.problem.groups.emplace_back();
    auto& indices = search.variants.emplace_back();
    for (size_t v = 0; v < group.variants.size(); ++v) {
      const VariantTable::Variant& variant = group.variants[v];
      if (const auto metric = scorer.Missing(variant)) {
        const std::string what =
            fmt::format("{}: variant \"{}\" has no {}", group.name, variant.name, *metric);
        if (v == 0) throw Error(what + ", and the others are compared with it");
        warn(what + " and is left out");
        continue;
      }
      MipOption option{variant.name, scorer.Score(group, variant), {}};
      for (const size_t resource : limited) option.costs.push_back(variant.costs[resource]);
      options.push_back(std::move(option));
      indices.push_back(static_cast<int>(v));
    }
  }
  return search;
}

SearchProblem InverseProblem(const VariantTable& table, const Objective& objective,
                             SearchProblem search, const LossLimit& loss) {
  const size_t resource = FindMinimized(table, loss);
  std::string metrics;
  for (const auto& [metric, weight] : objective) {
    metrics += (metrics.empty() ? "" : " + ") + metric;
  }
  search.problem.limits.push_back(
      {.resource = fmt::format("loss ({})", metrics), .high = loss.max});
  for (size_t g = 0; g < search.variants.size(); ++g) {
    for (size_t o = 0; o < search.variants[g].size(); ++o) {
      MipOption& option = search.problem.groups[g][o];
      option.costs.push_back(option.score);
      option.score = table.groups[g].variants[search.variants[g][o]].costs[resource];
      if (g == 0) option.score += table.fixed[resource];  // spent whatever is chosen
    }
  }
  return search;
}

std::string MinimizedResource(const VariantTable& table, const LossLimit& loss) {
  return table.resources[FindMinimized(table, loss)];
}

std::vector<std::vector<double>> ParameterCounts(const VariantTable& table,
                                                 const SearchProblem& search) {
  std::vector<std::vector<double>> counts;
  const std::optional<size_t> resource = FindParameters(table);
  if (!resource) return counts;
  for (size_t g = 0; g < search.variants.size(); ++g) {
    counts.emplace_back();
    for (const int variant : search.variants[g]) {
      counts.back().push_back(table.groups[g].variants[variant].costs[*resource]);
    }
  }
  return counts;
}

std::map<std::string, double> TotalsByName(const VariantTable& table,
                                           const std::vector<int>& variants) {
  std::map<std::string, double> totals;
  for (size_t r = 0; r < table.resources.size(); ++r) {
    double total = table.fixed[r];
    for (size_t g = 0; g < variants.size(); ++g) {
      total += table.groups[g].variants[variants[g]].costs[r];
    }
    totals[table.resources[r]] = total;
  }
  const auto runtime = totals.find("runtime_ms");
  if (table.tokens > 0 && runtime != totals.end() && runtime->second > 0) {
    totals[kThroughput] = 1000 * table.tokens / runtime->second;
  }
  return totals;
}

}  // namespace puzzle
