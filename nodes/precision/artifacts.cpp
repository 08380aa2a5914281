#include "nodes/precision/artifacts.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "model/pch.h"
#include "nodes/measure/metrics_json.h"

namespace puzzle {

using nlohmann::json;

void PrecisionScore::Save(ArchiveWriter& out) const {
  out.SetAttribute("model_digest", model_digest);
  out.SetAttribute("part", part);
  out.SetAttribute("variant", variant);
  json list = json::array();
  for (const Option& option : options) {
    list.push_back({{"type", option.type}, {"increase", ToJson(option.increase)}});
    for (const MetricInfo& info : AllMetrics())
      out.SetAttribute(fmt::format("{}_increase@{}", info.objective, option.type),
                       option.increase.Mean(info.metric));
  }
  out.SetAttribute("options", list);
}

PrecisionScore PrecisionScore::Load(std::shared_ptr<const ArchiveReader> in) {
  PrecisionScore score;
  score.model_digest = in->Attribute("model_digest").get<std::string>();
  score.part = in->Attribute("part");
  score.variant = in->Attribute("variant");
  for (const json& option : in->Attribute("options"))
    score.options.push_back({option.at("type"), MetricsFromJson(option.at("increase"))});
  return score;
}

StoredTypes Precision::Types() const {
  StoredTypes types;
  for (const Pick& pick : picks) types[pick.part] = &StoredTypeNamed(pick.type);
  return types;
}

std::string Precision::Listing() const {
  std::string text, last;
  for (const Pick& pick : picks) {
    const size_t space = pick.part.rfind(' ');
    const std::string layer = space == std::string::npos ? "" : pick.part.substr(0, space);
    if (layer.empty() || layer != last) {
      if (!text.empty()) text += '\n';
      if (!layer.empty()) text += layer + ':';
    }
    if (!layer.empty()) text += "  ";
    text += pick.variant + '@' + pick.type;
    last = layer;
  }
  return text + '\n';
}

StoredTypes Precision::TypesFor(const ModelConfig& config) const {
  const auto refuse = [](const std::string& difference) {
    throw Error("the precision was chosen for another model: " + difference +
                "; connect the one that its scores were taken in, or what training made of it");
  };
  const std::vector<ModelPart> parts = StoredParts(config);
  for (size_t i = 0; i < std::min(parts.size(), picks.size()); ++i)
    if (parts[i].name != picks[i].part || parts[i].variant != picks[i].variant)
      refuse(fmt::format("its {} is {}, where this one has {} as {}", picks[i].part,
                         picks[i].variant, parts[i].name, parts[i].variant));
  if (parts.size() != picks.size())
    refuse(fmt::format("it has {} parts with matrices, this one {}", picks.size(), parts.size()));
  return Types();
}

void Precision::Save(ArchiveWriter& out) const {
  json list = json::array();
  for (const Pick& pick : picks)
    list.push_back({{"part", pick.part},
                    {"variant", pick.variant},
                    {"type", pick.type},
                    {"score", pick.score},
                    {"bytes", pick.bytes}});
  out.SetAttribute("model_digest", model_digest);
  out.SetAttribute("picks", list);
  out.SetAttribute("status", status);
  out.SetAttribute("objective", objective);
  out.SetAttribute("bound", bound);
  out.SetAttribute("file_mib", file_mib);
  out.SetAttribute("comparison", comparison);
  out.SetAttribute("display",
                   fmt::format("{}: sum of scores {:.6f}, bound {:.6f}, {:.3f} MiB\n{}\n{}", status,
                               objective, bound, file_mib, Listing(), comparison));
}

Precision Precision::Load(std::shared_ptr<const ArchiveReader> in) {
  Precision precision;
  precision.model_digest = in->Attribute("model_digest").get<std::string>();
  for (const json& pick : in->Attribute("picks"))
    precision.picks.push_back(
        {pick.at("part"), pick.at("variant"), pick.at("type"), pick.at("score"), pick.at("bytes")});
  precision.status = in->Attribute("status");
  precision.objective = in->Attribute("objective");
  precision.bound = in->Attribute("bound");
  precision.file_mib = in->Attribute("file_mib");
  precision.comparison = in->Attribute("comparison");
  return precision;
}

const GgmlType& StoredTypeNamed(const std::string& name) {
  std::string capitals = name;
  std::transform(capitals.begin(), capitals.end(), capitals.begin(), [](char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  });
  const GgmlType* const type = FindWritableGgmlType(capitals);
  if (type == nullptr)
    throw Error(fmt::format("\"{}\" is no type that GGUF files are written in", name));
  return *type;
}

}  // namespace puzzle
