#include "nodes/measure/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>

#include "nodes/data/artifacts.h"
#include "nodes/measure/plot.h"
#include "nodes/search/artifacts.h"

namespace puzzle {

namespace {

std::string Indented(const std::string& text) {
  std::string result = "    ";
  for (char c : text) {
    result += c;
    if (c == '\n') result += "    ";
  }
  return result;
}

// Of the parent: the row that was not measured against one, the largest where others were not
// either, such as a model that was made from scratch. 0 when it is not among the rows.
int64_t ParentBlocks(const std::vector<Evaluation>& rows) {
  int64_t most = 0;
  for (const Evaluation& row : rows) {
    if (!row.has_kl) most = std::max(most, row.block_parameters);
  }
  return most;
}

// Its blocks' parameters: a share of the parent's, or their number where there is no parent.
double BlockSize(const Evaluation& row, int64_t parent_blocks) {
  const auto own = static_cast<double>(row.block_parameters);
  return parent_blocks > 0 ? 100.0 * own / static_cast<double>(parent_blocks) : own;
}

bool Contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// What has no room beside the figures: the largest of every column.
std::string LargestErrors(const std::vector<Evaluation>& rows, bool tasks) {
  constexpr std::pair<Metric, const char*> kColumns[] = {{Metric::kNll, "NLL"},
                                                         {Metric::kTop1, "top-1"},
                                                         {Metric::kTop5, "top-5"},
                                                         {Metric::kTop10, "top-10"}};
  std::string text = "standard errors are at most";
  const auto add = [&](const char* title, const std::function<double(const Evaluation&)>& error) {
    double largest = 0;
    for (const Evaluation& row : rows) largest = std::max(largest, error(row));
    text += fmt::format("{} {:.4f} ({})", text.ends_with(')') ? "," : "", largest, title);
  };
  for (const auto& [metric, title] : kColumns)
    add(title, [metric = metric](const Evaluation& row) { return row.metrics.Error(metric); });
  if (tasks) {
    add("tasks", [](const Evaluation& row) { return AverageOf(row.tasks).error; });
  }
  return text + '\n';
}

}  // namespace

std::string EvaluationTable(const std::vector<Evaluation>& rows) {
  const bool predictions = std::any_of(rows.begin(), rows.end(),
                                       [](const auto& row) { return row.predicted.has_value(); });
  const bool tasks = std::any_of(rows.begin(), rows.end(),
                                 [](const auto& row) { return AverageOf(row.tasks).tasks > 0; });
  size_t width = 5;
  for (const Evaluation& row : rows) width = std::max(width, row.label.size());
  std::string table = fmt::format(
      "{:<{}}  {:>12}  {:>12}  {:>11}  {:>7}  {:>15}{}  {:>6}  {:>6}  {:>6}{}\n", "model", width,
      "parameters", "in blocks", "weights MiB", "NLL", "KL to parent",
      predictions ? "  sum of scores" : "", "top-1", "top-5", "top-10", tasks ? "   tasks" : "");
  const int64_t parent_blocks = ParentBlocks(rows);
  for (const Evaluation& row : rows) {
    const TokenMetrics& m = row.metrics;
    const std::string kl =
        row.has_kl ? fmt::format("{:.4f} +-{:.4f}", m.Mean(Metric::kKl), m.Error(Metric::kKl))
                   : "-";
    const std::string predicted =
        !predictions
            ? ""
            : fmt::format("  {:>13}", row.predicted ? fmt::format("{:.4f}", *row.predicted) : "-");
    const TaskMean average = AverageOf(row.tasks);
    const std::string answered =
        !tasks
            ? ""
            : fmt::format("  {:>6}", average.tasks > 0 ? fmt::format("{:.4f}", average.mean) : "-");
    table += fmt::format(
        "{:<{}}  {:>12}  {:>12}  {:>11.2f}  {:>7.4f}  {:>15}{}  {:>6.4f}  {:>6.4f}  "
        "{:>6.4f}{}\n",
        row.label, width, row.parameters,
        parent_blocks > 0 ? fmt::format("{:.1f}%", BlockSize(row, parent_blocks))
                          : fmt::format("{}", row.block_parameters),
        row.weights_mib, m.Mean(Metric::kNll), kl, predicted, m.Mean(Metric::kTop1),
        m.Mean(Metric::kTop5), m.Mean(Metric::kTop10), answered);
  }
  if (!rows.empty()) table += LargestErrors(rows, tasks);
  return table;
}

std::string TasksOfRows(const std::vector<Evaluation>& rows) {
  std::vector<ModelTasks> models;
  int parent = -1;
  const int64_t parent_blocks = ParentBlocks(rows);
  for (const Evaluation& row : rows) {
    if (row.tasks.empty()) continue;
    if (parent < 0 && !row.has_kl && row.block_parameters == parent_blocks)
      parent = static_cast<int>(models.size());
    models.push_back({row.label, row.tasks});
  }
  return models.empty() ? "" : TaskTable(models, parent);
}

std::string EvaluationPicture(const std::vector<Evaluation>& rows, const ReportParams& params) {
  std::map<std::string, std::vector<PlotPoint>> series;
  const int64_t parent_blocks = ParentBlocks(rows);
  for (const Evaluation& row : rows) {
    if (row.series.empty() || !row.has_kl) continue;
    series[row.series].push_back({BlockSize(row, parent_blocks), row.metrics.Mean(Metric::kKl),
                                  row.metrics.Error(Metric::kKl)});
  }
  if (series.empty()) return {};
  Plot plot{parent_blocks > 0 ? "block parameters, % of the parent's" : "block parameters",
            "KL to the parent (lower is better)",
            {}};
  for (const auto& [name, points] : series) {
    plot.series.push_back(
        {name, points, !Contains(params.loose, name), Contains(params.main, name)});
  }
  return PlotSvg(plot);
}

ReportText RunReport(const ReportParams& params, const Inputs& inputs, RunContext&) {
  std::vector<Evaluation> rows;
  for (const auto& input : inputs.List<Evaluation>("rows")) rows.push_back(*input.Load());
  auto position = [&](const Evaluation& row) {
    return std::find(params.order.begin(), params.order.end(), row.label) - params.order.begin();
  };
  std::stable_sort(rows.begin(), rows.end(), [&](const Evaluation& a, const Evaluation& b) {
    return std::pair(position(a), a.label) < std::pair(position(b), b.label);
  });
  std::string text = EvaluationTable(rows);
  if (const std::string tasks = TasksOfRows(rows); !tasks.empty()) text += '\n' + tasks;
  if (inputs.Has("choice")) {
    const auto choice = inputs.Get<Choice>("choice");
    text += fmt::format("\nchild ({}, sum of scores {:.4f}):\n{}", choice->status,
                        choice->objective, choice->Listing());
    if (!choice->comparison.empty()) text += '\n' + choice->comparison;
  }
  for (const Evaluation& row : rows)
    if (!row.sample.empty())
      text +=
          fmt::format("\n{} continues \"{}\":\n{}\n", row.label, row.prompt, Indented(row.sample));
  if (inputs.Has("exported")) {
    const auto exported = inputs.Get<ExportManifest>("exported");
    text += fmt::format("\nwritten to {}:\n", exported->folder);
    for (const auto& [name, bytes] : exported->files)
      text += fmt::format("    {:<28} {:>12} bytes\n", name, bytes);
  }
  return {text, EvaluationPicture(rows, params)};
}

}  // namespace puzzle
