#include "nodes/search/block_library.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "io/error.h"
#include "io/json_text.h"

namespace puzzle {

using nlohmann::ordered_json;

namespace {

constexpr const char* kLibraryFile = "block_library.json";
constexpr const char* kParentFile = "parent_block_stats.json";
constexpr const char* kMeasurementFile = "measurement_info.json";

// Every variant has a place for every metric: without a limit a small file of many names and many
// variants would take the product of both.
constexpr size_t kMaxMetrics = 256;

// What a name says of a part: "8 kv heads" of "attention = 8 kv heads (parent * 100%)\t&&\t..." for
// the part "attention". Names round ("29e3"), so that the exact figure among the costs, where it
// is, takes the place of theirs. "": not a shape that a plain config.json has, or none that we
// know.
std::string ShapeIn(const std::string& name, const std::string& part, const std::string& unit,
                    const std::optional<std::string>& exact) {
  const size_t begin = name.find(part + " = ");
  if (begin == std::string::npos) return "";
  const std::string text = name.substr(begin + part.size() + 3);
  const std::string shape = text.substr(0, std::min(text.find(" ("), text.find('\t')));
  return shape.find(unit) == std::string::npos ? "" : exact.value_or(shape);
}

// A name as people can read it in one line: the published ones hold tabs.
std::string Shown(std::string name) {
  std::replace(name.begin(), name.end(), '\t', ' ');
  return name;
}

std::string Token(const std::string& name) {
  std::string token;
  for (const char c : name) {
    if (c == '~' || c == '/') {
      token += '~';
      token += c == '~' ? '0' : '1';
    } else {
      token += c;
    }
  }
  return token;
}

class LibraryReader {
 public:
  LibraryReader(const std::string& path, const std::function<void(const std::string&)>& warn)
      : text_(JsonText::ParseFile(path)), warn_(warn) {}

  VariantTable Read() {
    const ordered_json& library = text_.value();
    if (!library.is_object() || library.empty()) {
      Refuse("", "expected an object with layer_0, layer_1, ...");
    }
    table_.groups.resize(library.size());
    std::vector<bool> seen(library.size());
    for (const auto& [name, layer] : library.items()) {
      const std::string pointer = fmt::format("/{}", Token(name));
      const size_t index = LayerIndex(name, library.size());
      if (seen[index]) Refuse(pointer, fmt::format("layer {} is given twice", index));
      seen[index] = true;
      ReadLayer(pointer, layer, table_.groups[index]);
      table_.groups[index].name = fmt::format("layer_{}", index);
    }
    table_.fixed.assign(table_.resources.size(), 0);
    CompareLayers();
    return std::move(table_);
  }

 private:
  [[noreturn]] void Refuse(const std::string& pointer, const std::string& what) const {
    const TextPosition at = text_.Find(pointer);
    throw Error(fmt::format("{}:{}:{}: {}", text_.source(), at.line, at.column, what));
  }

  [[nodiscard]] size_t LayerIndex(const std::string& name, size_t layers) const {
    size_t index = 0;
    constexpr std::string_view kPrefix = "layer_";
    const char* end = name.data() + name.size();
    if (name.starts_with(kPrefix) && name.size() > kPrefix.size()) {
      const auto [rest, error] = std::from_chars(name.data() + kPrefix.size(), end, index);
      if (error == std::errc() && rest == end) {
        if (index < layers) return index;
        Refuse(fmt::format("/{}", Token(name)),
               fmt::format("\"{}\", but there are {} layers: layer_0 to "
                           "layer_{} are expected without gaps",
                           name, layers, layers - 1));
      }
    }
    Refuse(fmt::format("/{}", Token(name)),
           fmt::format("\"{}\" is not a layer; expected layer_0, layer_1, ...", Shown(name)));
  }

  void ReadLayer(const std::string& pointer, const ordered_json& layer,
                 VariantTable::Group& group) {
    if (!layer.is_object() || layer.empty()) Refuse(pointer, "expected variants by name");
    for (const auto& [name, variant] : layer.items()) {
      const std::string at = fmt::format("{}/{}", pointer, Token(name));
      if (!variant.is_object()) Refuse(at, "expected {\"stats\": {...}, \"metrics\": {...}}");
      for (const char* part : {"stats", "metrics"}) {
        if (!variant.contains(part) || !variant[part].is_object()) {
          Refuse(at, fmt::format("variant \"{}\" has no \"{}\"", Shown(name), part));
        }
      }
      VariantTable::Variant row{name, {}, {}};
      ReadStats(at, Shown(name), variant["stats"], row);
      ReadMetrics(at, Shown(name), variant["metrics"], row);
      const auto& stats = variant["stats"];
      row.attention =
          ShapeIn(name, "attention", "kv heads", Stat(stats, "num_kv_heads", "{} kv heads"));
      row.ffn = ShapeIn(name, "ffn", "intermediate size",
                        Stat(stats, "ffn_intermediate_size", "intermediate size {}"));
      group.variants.push_back(std::move(row));
    }
  }

  // The first variant of all says which costs there are; if it says none, there are none.
  void ReadStats(const std::string& at, const std::string& name, const ordered_json& stats,
                 VariantTable::Variant& row) {
    if (std::exchange(is_first_, false)) {
      for (const auto& [stat, value] : stats.items()) table_.resources.push_back(stat);
    } else if (table_.resources.empty() && !stats.empty()) {
      Refuse(at + "/stats",
             fmt::format("variant \"{}\" has {}, but the first variant of all has no "
                         "stats; all need the same",
                         name, Shown(stats.begin().key())));
    }
    for (const std::string& resource : table_.resources) {
      if (!stats.contains(resource)) {
        Refuse(at + "/stats", fmt::format("variant \"{}\" has no {}", name, resource));
      }
      const std::string where = at + "/stats/" + Token(resource);
      const double cost = Number(where, name, resource, stats[resource]);
      if (cost < 0)
        Refuse(where, fmt::format("{} of \"{}\" is negative: {}", resource, name, cost));
      row.costs.push_back(cost);
    }
  }

  void ReadMetrics(const std::string& at, const std::string& name, const ordered_json& metrics,
                   VariantTable::Variant& row) {
    for (const auto& [metric, value] : metrics.items()) {
      const double number = Number(at + "/metrics/" + Token(metric), name, metric, value);
      const auto known = std::find(table_.metrics.begin(), table_.metrics.end(), metric);
      const auto index = static_cast<size_t>(known - table_.metrics.begin());
      if (known == table_.metrics.end()) {
        if (index == kMaxMetrics)
          Refuse(at + "/metrics", fmt::format("more than {} different metrics", kMaxMetrics));
        table_.metrics.push_back(metric);
      }
      if (row.metrics.size() <= index) row.metrics.resize(index + 1);
      row.metrics[index] = number;
    }
  }

  [[nodiscard]] double Number(const std::string& at, const std::string& name,
                              const std::string& what, const ordered_json& value) const {
    if (value.is_number()) return value.get<double>();
    Refuse(at, fmt::format("{} of \"{}\" is {}, expected a number", what, name, value.dump()));
  }

  // A cost in words, or nothing where there is no such number.
  [[nodiscard]] static std::optional<std::string> Stat(const ordered_json& stats, const char* name,
                                                       fmt::format_string<double> words) {
    if (!stats.contains(name) || !stats[name].is_number()) return std::nullopt;
    return fmt::format(words, stats[name].get<double>());
  }

  // One warning, however many layers differ from the first.
  void CompareLayers() {
    std::set<std::string> first;
    for (const auto& variant : table_.groups.front().variants) first.insert(variant.name);
    std::string difference;
    int more = 0;
    for (VariantTable::Group& group : table_.groups) {
      std::set<std::string> names;
      for (VariantTable::Variant& variant : group.variants) {
        variant.metrics.resize(table_.metrics.size());
        names.insert(variant.name);
      }
      if (names == first) continue;
      if (difference.empty()) {
        difference =
            group.name + Besides(" lacks", first, names) + Besides(" has besides", names, first);
      } else {
        ++more;
      }
    }
    if (difference.empty()) return;
    if (more > 0) difference += fmt::format("; {} more differ from layer_0", more);
    warn_(fmt::format("{}: layers differ in their variants: {}", text_.source(), difference));
  }

  // What `these` hold and `those` do not, behind `how`; nothing when that is nothing.
  static std::string Besides(const std::string& how, const std::set<std::string>& these,
                             const std::set<std::string>& those) {
    std::string text;
    for (const std::string& name : these) {
      if (those.contains(name)) continue;
      text += fmt::format("{} \"{}\"", text.empty() ? how : ",", Shown(name));
    }
    return text;
  }

  JsonText text_;
  const std::function<void(const std::string&)>& warn_;
  VariantTable table_;
  bool is_first_ = true;
};

// Batch, sequence length and the costs outside the blocks, when the file is there.
void ReadMeasurement(const std::string& path, VariantTable& table) {
  if (!std::filesystem::exists(path)) return;
  const JsonText text = JsonText::ParseFile(path);
  const ordered_json& info = text.value();
  const auto positive = [&](const char* name) -> double {
    if (!info.is_object() || !info.contains(name)) return 0;
    if (info[name].is_number() && info[name].get<double>() > 0) return info[name].get<double>();
    throw Error(
        fmt::format("{}: {}: expected a positive number, got {}", path, name, info[name].dump()));
  };
  table.batch = positive("batch_size");
  table.tokens = table.batch * positive("sequence_length");
  if (!std::isfinite(table.tokens))
    throw Error(fmt::format("{}: batch_size times sequence_length is too large", path));
  if (!info.is_object() || !info.contains("non_block_stats")) return;
  const ordered_json& stats = info["non_block_stats"];
  for (const auto& [name, value] : stats.items()) {
    const auto it = std::find(table.resources.begin(), table.resources.end(), name);
    if (it == table.resources.end() || !value.is_number()) {
      throw Error(fmt::format("{}: non_block_stats: \"{}\" is not a cost of the library's variants",
                              path, name));
    }
    if (value.get<double>() < 0)
      throw Error(fmt::format("{}: non_block_stats: {} is negative: {}", path, name, value.dump()));
    table.fixed[static_cast<size_t>(it - table.resources.begin())] = value.get<double>();
  }
}

ordered_json VariantJson(const VariantTable& table, const VariantTable::Variant& variant) {
  ordered_json stats = ordered_json::object(), metrics = ordered_json::object();
  for (size_t r = 0; r < table.resources.size(); ++r) stats[table.resources[r]] = variant.costs[r];
  for (size_t m = 0; m < table.metrics.size(); ++m) {
    if (variant.metrics[m]) metrics[table.metrics[m]] = *variant.metrics[m];
  }
  return {{"stats", stats}, {"metrics", metrics}};
}

}  // namespace

VariantTable ReadBlockLibrary(const std::string& path,
                              const std::function<void(const std::string&)>& warn) {
  VariantTable table = LibraryReader(path, warn).Read();
  ReadMeasurement((std::filesystem::path(path).parent_path() / kMeasurementFile).string(), table);
  return table;
}

std::map<std::string, std::string> WriteBlockLibrary(const VariantTable& table) {
  ordered_json library = ordered_json::object();
  for (size_t layer = 0; layer < table.groups.size(); ++layer) {
    ordered_json& variants = library[fmt::format("layer_{}", layer)] = ordered_json::object();
    for (const VariantTable::Variant& variant : table.groups[layer].variants) {
      variants[variant.name] = VariantJson(table, variant);
    }
  }
  ordered_json outside = ordered_json::object();
  for (size_t r = 0; r < table.resources.size(); ++r) outside[table.resources[r]] = table.fixed[r];
  ordered_json info = ordered_json::object();
  if (table.batch > 0) info["batch_size"] = table.batch;
  if (table.tokens > 0) info["sequence_length"] = table.tokens / table.batch;
  info["non_block_stats"] = outside;
  const ordered_json parent = VariantJson(table, table.groups.front().variants.front());
  return {{kLibraryFile, library.dump(2) + '\n'},
          {kParentFile, parent.dump(2) + '\n'},
          {kMeasurementFile, info.dump(2) + '\n'}};
}

}  // namespace puzzle
