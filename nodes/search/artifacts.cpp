#include "nodes/search/artifacts.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>

#include "model/pch.h"
#include "nodes/tensor_archive.h"

namespace puzzle {

using at::Tensor;
using nlohmann::json;

std::string Choice::Listing() const {
  std::map<int64_t, BlockSpec> blocks;
  std::set<int64_t> coupled;
  for (const Pick& pick : picks) {
    Place(pick.spec, blocks[pick.layer]);
    if (WhichSubBlock(pick.spec) == SubBlock::kBoth && !IsNone(pick.spec))
      coupled.insert(pick.layer);
  }
  std::string text;
  for (const auto& [layer, block] : blocks)
    text += fmt::format("block_{}:  attention {:<7} ffn {}\n", layer, Describe(block.attention),
                        coupled.contains(layer) ? fmt::format("{:<7} coupled", Describe(block.ffn))
                                                : Describe(block.ffn));
  return text;
}

std::string Choice::Report() const {
  std::string text =
      minimized.empty()
          ? fmt::format("{} ({}): objective {:.6f}, bound {:.6f}, gap {:.3g} %\n", status, method,
                        objective, bound, 100 * gap)
          : fmt::format(
                "{} ({}): least {} {:.12g}, bound {:.12g}, gap {:.3g} %; loss {:.6f} <= {:g}\n",
                status, method, minimized, totals.at(minimized), bound, 100 * gap, objective,
                loss_max);
  if (!uniform.empty()) text += uniform + '\n';
  if (bracket)
    text += fmt::format("looked for between {} {:.12g}, which loses too much, and {:.12g}\n",
                        bracket->resource, bracket->fails, bracket->keeps);
  for (const auto& [resource, total] : totals)
    text += fmt::format("    {:<20} {:>18.12g}\n", resource, total);
  if (!timing.empty()) text += fmt::format("    times: {}, batch {}\n", timing, batch);
  text += Listing();
  if (!comparison.empty()) text += '\n' + comparison;
  return text;
}

void Choice::Save(ArchiveWriter& out) const {
  json list = json::array();
  for (const Pick& pick : picks)
    list.push_back({{"layer", pick.layer}, {"variant", pick.variant}, {"spec", ToJson(pick.spec)}});
  out.SetAttribute("picks", list);
  out.SetAttribute("method", method);
  out.SetAttribute("status", status);
  out.SetAttribute("objective", objective);
  out.SetAttribute("bound", bound);
  out.SetAttribute("gap", gap);
  out.SetAttribute("batch", batch);
  out.SetAttribute("timing", timing);
  out.SetAttribute("totals", totals);
  out.SetAttribute("comparison", comparison);
  // Without these a choice is what it was before they came.
  if (!minimized.empty()) {
    out.SetAttribute("minimized", minimized);
    out.SetAttribute("loss_max", loss_max);
  }
  if (!uniform.empty()) out.SetAttribute("uniform", uniform);
  if (bracket)
    out.SetAttribute(
        "bracket",
        {{"resource", bracket->resource}, {"fails", bracket->fails}, {"keeps", bracket->keeps}});
  out.SetAttribute("display", Report());
  for (const auto& [resource, total] : totals) out.SetAttribute(resource, total);
}

Choice Choice::Load(std::shared_ptr<const ArchiveReader> in) {
  Choice choice;
  for (const json& pick : in->Attribute("picks"))
    choice.picks.push_back(
        {pick.at("layer"), pick.at("variant"), VariantFromJson(pick.at("spec"))});
  choice.method = in->Attribute("method");
  choice.status = in->Attribute("status");
  choice.objective = in->Attribute("objective");
  choice.bound = in->Attribute("bound");
  choice.gap = in->Attribute("gap");
  choice.batch = in->Attribute("batch");
  choice.timing = in->Attribute("timing");
  choice.totals = in->Attribute("totals").get<std::map<std::string, double>>();
  choice.comparison = in->Attribute("comparison");
  if (in->HasAttribute("minimized")) {
    choice.minimized = in->Attribute("minimized");
    choice.loss_max = in->Attribute("loss_max");
  }
  if (in->HasAttribute("uniform")) choice.uniform = in->Attribute("uniform");
  if (in->HasAttribute("bracket")) {
    const json saved = in->Attribute("bracket");
    choice.bracket = {saved.at("resource"), saved.at("fails"), saved.at("keeps")};
  }
  return choice;
}

void FrontierArtifact::Save(ArchiveWriter& out) const {
  json list = json::array();
  for (const Point& point : points)
    list.push_back({{"budget", point.budget},
                    {"method", point.method},
                    {"batch", point.batch},
                    {"status", point.status},
                    {"objective", point.objective},
                    {"bound", point.bound},
                    {"dominated", point.dominated},
                    {"totals", point.totals},
                    {"variants", point.variants}});
  out.SetAttribute("resource", resource);
  out.SetAttribute("points", list);
  out.SetAttribute("display", table);
  out.SetAttribute("picture_svg", picture_svg);
}

FrontierArtifact FrontierArtifact::Load(std::shared_ptr<const ArchiveReader> in) {
  FrontierArtifact frontier;
  frontier.resource = in->Attribute("resource");
  for (const json& point : in->Attribute("points"))
    frontier.points.push_back({point.at("budget"), point.at("method"), point.at("batch"),
                               point.at("status"), point.at("objective"), point.at("bound"),
                               point.at("dominated"),
                               point.at("totals").get<std::map<std::string, double>>(),
                               point.at("variants").get<std::vector<std::string>>()});
  frontier.table = in->Attribute("display");
  frontier.picture_svg = in->Attribute("picture_svg");
  return frontier;
}

}  // namespace puzzle
