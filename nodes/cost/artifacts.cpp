#include "nodes/cost/artifacts.h"

#include <nlohmann/json.hpp>

#include "model/files/hf_config.h"
#include "model/pch.h"
#include "nodes/tensor_archive.h"

namespace puzzle {

using at::Tensor;
using nlohmann::json;

void CostTable::Save(ArchiveWriter& out) const {
  out.SetAttribute("parent", json(ToHfJson(parent)));
  out.SetAttribute("batch", scenario.batch);
  out.SetAttribute("prefill", scenario.prefill_length);
  out.SetAttribute("generation", scenario.generation_length);
  out.SetAttribute("weights", scenario.weights);
  out.SetAttribute("activations", scenario.activations);
  out.SetAttribute("kv", scenario.kv);
  out.SetAttribute("timing", timing);
  out.SetAttribute("resources", resources);
  out.SetAttribute("fixed", fixed);
  out.SetAttribute("parent_total", parent_total);
  json table = json::array();
  for (const Row& row : rows)
    table.push_back({{"layer", row.layer},
                     {"variant", row.variant},
                     {"spec", ToJson(row.spec)},
                     {"parents_own", row.parents_own},
                     {"costs", row.costs}});
  out.SetAttribute("rows", table);
}

CostTable CostTable::Load(std::shared_ptr<const ArchiveReader> in) {
  CostTable table;
  table.parent = ModelConfigFromJson(nlohmann::ordered_json::parse(in->Attribute("parent").dump()),
                                     "cost table");
  table.scenario = {in->Attribute("batch"),       in->Attribute("prefill"),
                    in->Attribute("generation"),  in->Attribute("weights"),
                    in->Attribute("activations"), in->Attribute("kv")};
  table.timing = in->Attribute("timing");
  table.resources = in->Attribute("resources").get<std::vector<std::string>>();
  table.fixed = in->Attribute("fixed").get<std::vector<double>>();
  table.parent_total = in->Attribute("parent_total").get<std::vector<double>>();
  for (const json& row : in->Attribute("rows"))
    table.rows.push_back({row.at("layer"), row.at("variant"), VariantFromJson(row.at("spec")),
                          row.at("parents_own"), row.at("costs").get<std::vector<double>>()});
  return table;
}

}  // namespace puzzle
