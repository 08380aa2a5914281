#include "nodes/measure/artifacts.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "model/pch.h"
#include "nodes/measure/metrics_json.h"
#include "nodes/tensor_archive.h"

namespace puzzle {

using at::Tensor;
using nlohmann::json;

namespace {

// A mean and its standard error, for records and summaries.
void SaveMean(ArchiveWriter& out, const std::string& name, const TokenMetrics& m, Metric metric) {
  out.SetAttribute(name, m.Mean(metric));
  out.SetAttribute(name + "_se", m.Error(metric));
}

void SaveMetrics(ArchiveWriter& out, const TokenMetrics& m, bool with_parent) {
  out.SetAttribute("sums", ToJson(m));
  out.SetAttribute("positions", m.tokens);
  for (const MetricInfo& info : AllMetrics())
    if (with_parent || !info.needs_parent) SaveMean(out, std::string(info.name), m, info.metric);
}

json ResultToJson(const TaskResult& result) {
  json finite = json::object(), other = json::object();  // JSON has no infinity
  for (const auto& [name, value] : result.figures)
    (std::isfinite(value) ? finite[name] : other[name]) =
        std::isfinite(value) ? json(value) : json(std::isnan(value) ? "nan" : "inf");
  json json{{"name", result.name},     {"n", result.n},         {"cut", result.cut},
            {"counts", result.counts}, {"right", result.right}, {"figures", finite}};
  if (!other.empty()) json["not_finite"] = other;
  return json;
}

TaskResult ResultFromJson(const json& saved) {
  TaskResult result;
  result.name = saved.at("name");
  result.n = saved.at("n");
  result.cut = saved.at("cut");
  result.counts = saved.at("counts");
  result.right = saved.at("right");
  for (const auto& [name, value] : saved.at("figures").items()) result.figures[name] = value;
  if (saved.contains("not_finite"))
    for (const auto& [name, value] : saved.at("not_finite").items())
      result.figures[name] = value == "nan" ? std::nan("") : HUGE_VAL;
  return result;
}

// As evaluations had it before there were tasks: how many questions, and how many were answered.
TaskResult QuestionsResult(int64_t n, int64_t right) {
  const double accuracy = static_cast<double>(right) / static_cast<double>(n);
  const double error = std::sqrt(accuracy * (1 - accuracy) / static_cast<double>(n));
  return {"questions", n, 0, {{"acc", accuracy}, {"stderr", error}}, "acc", {}};
}

// Name, and name + "_se".
void SaveTaskMean(ArchiveWriter& out, const std::string& name, const TaskMean& mean) {
  out.SetAttribute(name, mean.mean);
  out.SetAttribute(name + "_se", mean.error);
}

TaskMean LoadTaskMean(const ArchiveReader& in, const std::string& name) {
  return {in.Attribute(name), in.Attribute(name + "_se"), in.Attribute("task_count")};
}

// Nothing where none was measured: what scores were before there were tasks.
void SaveDamage(ArchiveWriter& out, const std::optional<TaskDamage>& damage) {
  if (!damage) return;
  out.SetAttribute("task_count", damage->figures.accuracy.tasks);
  SaveTaskMean(out, "task_accuracy", damage->figures.accuracy);
  SaveTaskMean(out, "task_kl", damage->figures.kl);
  SaveTaskMean(out, "task_accuracy_increase", damage->increase.accuracy);
  SaveTaskMean(out, "task_kl_increase", damage->increase.kl);
}

std::optional<TaskDamage> LoadDamage(const ArchiveReader& in) {
  if (!in.HasAttribute("task_count")) return std::nullopt;
  return TaskDamage{
      {LoadTaskMean(in, "task_accuracy"), LoadTaskMean(in, "task_kl")},
      {LoadTaskMean(in, "task_accuracy_increase"), LoadTaskMean(in, "task_kl_increase")}};
}

TokenMetrics LoadMetrics(const ArchiveReader& in) {
  return MetricsFromJson(in.Attribute("sums"));
}

}  // namespace

void Score::Save(ArchiveWriter& out) const {
  out.SetAttribute("layer", layer);
  out.SetAttribute("variant", variant);
  out.SetAttribute("spec", ToJson(spec));
  SaveMetrics(out, metrics, /*with_parent=*/true);
  out.SetAttribute("increase_sums", ToJson(increase));
  if (products != Score().products) out.SetAttribute("products", products);
  for (const MetricInfo& info : AllMetrics())
    SaveMean(out, fmt::format("{}_increase", info.objective), increase, info.metric);
  SaveDamage(out, tasks);
}

Score Score::Load(std::shared_ptr<const ArchiveReader> in) {
  Score score;
  score.layer = in->Attribute("layer");
  score.variant = in->Attribute("variant");
  score.spec = VariantFromJson(in->Attribute("spec"));
  score.metrics = LoadMetrics(*in);
  score.increase = MetricsFromJson(in->Attribute("increase_sums"));
  if (in->HasAttribute("products")) score.products = in->Attribute("products");
  score.tasks = LoadDamage(*in);
  return score;
}

void TaskSet::Save(ArchiveWriter& out) const {
  json list = json::array();
  int64_t questions = 0;
  for (const Task& task : tasks) {
    json items = json::array();
    for (const TaskItem& item : task.items)
      items.push_back({{"contexts", item.contexts},
                       {"continuations", item.continuations},
                       {"lengths", item.lengths},
                       {"answer", item.answer}});
    list.push_back({{"name", task.name},
                    {"scoring", static_cast<int>(task.scoring)},
                    {"averages_norm", task.averages_norm},
                    {"items", items},
                    {"window", task.window},
                    {"windows", task.windows},
                    {"text", task.text}});
    questions += std::ssize(task.items);
  }
  out.SetAttribute("task_count", tasks.size());
  out.SetAttribute("questions", questions);
  WriteText(out, "tasks", list.dump());
}

TaskSet TaskSet::Load(std::shared_ptr<const ArchiveReader> in) {
  TaskSet set;
  for (const json& saved : json::parse(ReadText(*in, "tasks"))) {
    Task task;
    task.name = saved.at("name");
    task.scoring = static_cast<TaskScoring>(saved.at("scoring").get<int>());
    task.averages_norm = saved.at("averages_norm");
    for (const json& item : saved.at("items"))
      task.items.push_back(
          {item.at("contexts"), item.at("continuations"), item.at("lengths"), item.at("answer")});
    task.window = saved.at("window");
    task.windows = saved.at("windows");
    task.text = saved.at("text");
    set.tasks.push_back(std::move(task));
  }
  return set;
}

size_t TaskSet::ResidentBytes() const {
  size_t bytes = sizeof(TaskSet);
  for (const Task& task : tasks) {
    bytes += sizeof(Task) + task.text.size();
    for (const TaskItem& item : task.items) {
      bytes += sizeof(TaskItem);
      for (const auto* texts : {&item.contexts, &item.continuations})
        for (const std::string& text : *texts) bytes += sizeof(text) + text.size();
    }
  }
  return bytes;
}

void Evaluation::Save(ArchiveWriter& out) const {
  out.SetAttribute("label", label);
  out.SetAttribute("series", series);
  out.SetAttribute("model_digest", model_digest);
  out.SetAttribute("has_kl", has_kl);
  if (predicted) out.SetAttribute("predicted_kl", *predicted);
  if (!tasks.empty()) {
    json list = json::array();
    for (const TaskResult& task : tasks) list.push_back(ResultToJson(task));
    out.SetAttribute("tasks", list);
  }
  if (const TaskMean average = AverageOf(tasks); average.tasks > 0) {
    out.SetAttribute("task_accuracy", average.mean);
    out.SetAttribute("task_accuracy_se", average.error);
  }
  out.SetAttribute("parameters", parameters);
  out.SetAttribute("block_parameters", block_parameters);
  out.SetAttribute("weights_mib", weights_mib);
  if (products != Evaluation().products) out.SetAttribute("products", products);
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
  if (in->HasAttribute("tasks")) {
    for (const json& task : in->Attribute("tasks"))
      evaluation.tasks.push_back(ResultFromJson(task));
  } else if (in->HasAttribute("questions")) {
    evaluation.tasks = {
        QuestionsResult(in->Attribute("questions"), in->Attribute("questions_right"))};
  }
  evaluation.parameters = in->Attribute("parameters");
  evaluation.block_parameters = in->Attribute("block_parameters");
  evaluation.weights_mib = in->Attribute("weights_mib");
  if (in->HasAttribute("products")) evaluation.products = in->Attribute("products");
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
