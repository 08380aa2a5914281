#include "nodes/measure/artifacts.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>

#include "io/error.h"
#include "model/pch.h"
#include "nodes/tensor_archive.h"

namespace puzzle {

using at::Tensor;
using nlohmann::json;

namespace {

json Sums(const TokenMetrics& m) {
  return {{"tokens", m.tokens},
          {"sum", m.sum},
          {"squares", m.squares},
          {"nmse_products", m.nmse_products}};
}

TokenMetrics MetricsFromSums(const json& sums) {
  return {sums.at("tokens"), sums.at("sum"), sums.at("squares"), sums.at("nmse_products")};
}

// A mean and its standard error, for records and summaries.
void SaveMean(ArchiveWriter& out, const std::string& name, const TokenMetrics& m, Metric metric) {
  out.SetAttribute(name, m.Mean(metric));
  out.SetAttribute(name + "_se", m.Error(metric));
}

void SaveMetrics(ArchiveWriter& out, const TokenMetrics& m, bool with_parent) {
  out.SetAttribute("sums", Sums(m));
  out.SetAttribute("positions", m.tokens);
  for (const MetricInfo& info : AllMetrics())
    if (with_parent || !info.needs_parent) SaveMean(out, std::string(info.name), m, info.metric);
}

TokenMetrics LoadMetrics(const ArchiveReader& in) {
  return MetricsFromSums(in.Attribute("sums"));
}

}  // namespace

void Score::Save(ArchiveWriter& out) const {
  out.SetAttribute("layer", layer);
  out.SetAttribute("variant", variant);
  out.SetAttribute("spec", ToJson(spec));
  SaveMetrics(out, metrics, /*with_parent=*/true);
  out.SetAttribute("increase_sums", Sums(increase));
  for (const MetricInfo& info : AllMetrics())
    SaveMean(out, fmt::format("{}_increase", info.objective), increase, info.metric);
}

Score Score::Load(std::shared_ptr<const ArchiveReader> in) {
  Score score;
  score.layer = in->Attribute("layer");
  score.variant = in->Attribute("variant");
  score.spec = VariantFromJson(in->Attribute("spec"));
  score.metrics = LoadMetrics(*in);
  score.increase = MetricsFromSums(in->Attribute("increase_sums"));
  return score;
}

void Evaluation::Save(ArchiveWriter& out) const {
  out.SetAttribute("label", label);
  out.SetAttribute("series", series);
  out.SetAttribute("model_digest", model_digest);
  out.SetAttribute("has_kl", has_kl);
  if (predicted) out.SetAttribute("predicted_kl", *predicted);
  if (tasks.questions > 0) {
    out.SetAttribute("questions", tasks.questions);
    out.SetAttribute("questions_right", tasks.right);
    out.SetAttribute("task_accuracy", tasks.Mean());
    out.SetAttribute("task_accuracy_se", tasks.StandardError());
  }
  out.SetAttribute("parameters", parameters);
  out.SetAttribute("block_parameters", block_parameters);
  out.SetAttribute("weights_mib", weights_mib);
  out.SetAttribute("prompt", prompt);
  out.SetAttribute("sample", sample);
  SaveMetrics(out, metrics, has_kl);
}

Evaluation Evaluation::Load(std::shared_ptr<const ArchiveReader> in) {
  Evaluation evaluation;
  evaluation.label = in->Attribute("label");
  evaluation.series = in->Attribute("series");
  evaluation.model_digest = in->Attribute("model_digest").get<std::string>();
  evaluation.has_kl = in->Attribute("has_kl");
  if (in->HasAttribute("predicted_kl"))
    evaluation.predicted = in->Attribute("predicted_kl").get<double>();
  if (in->HasAttribute("questions"))
    evaluation.tasks = {in->Attribute("questions"), in->Attribute("questions_right")};
  evaluation.parameters = in->Attribute("parameters");
  evaluation.block_parameters = in->Attribute("block_parameters");
  evaluation.weights_mib = in->Attribute("weights_mib");
  evaluation.prompt = in->Attribute("prompt");
  evaluation.sample = in->Attribute("sample");
  evaluation.metrics = LoadMetrics(*in);
  return evaluation;
}

void ReportText::Save(ArchiveWriter& out) const {
  out.SetAttribute("display", text);
  if (!picture_svg.empty()) out.SetAttribute("picture_svg", picture_svg);
}

ReportText ReportText::Load(std::shared_ptr<const ArchiveReader> in) {
  ReportText report{in->Attribute("display"), {}};
  if (in->HasAttribute("picture_svg")) report.picture_svg = in->Attribute("picture_svg");
  return report;
}

}  // namespace puzzle
