#include "nodes/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "nodes/plot.h"

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

// Of the parent: the row that was not measured against one. 0 when it is not among the rows.
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

}  // namespace

std::string EvaluationTable(const std::vector<Evaluation>& rows) {
  const bool predictions = std::any_of(rows.begin(), rows.end(),
                                       [](const auto& row) { return row.predicted.has_value(); });
  const bool tasks =
      std::any_of(rows.begin(), rows.end(), [](const auto& row) { return row.questions > 0; });
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
        row.has_kl ? fmt::format("{:.4f} +-{:.4f}", m.MeanKl(), m.KlError()) : "-";
    const std::string predicted =
        !predictions
            ? ""
            : fmt::format("  {:>13}", row.predicted ? fmt::format("{:.4f}", *row.predicted) : "-");
    const double share = static_cast<double>(row.right) / static_cast<double>(row.questions);
    const std::string answered =
        !tasks ? ""
               : fmt::format("  {:>6}", row.questions > 0 ? fmt::format("{:.4f}", share) : "-");
    table += fmt::format(
        "{:<{}}  {:>12}  {:>12}  {:>11.2f}  {:>7.4f}  {:>15}{}  {:>6.4f}  {:>6.4f}  "
        "{:>6.4f}{}\n",
        row.label, width, row.parameters,
        parent_blocks > 0 ? fmt::format("{:.1f}%", BlockSize(row, parent_blocks))
                          : fmt::format("{}", row.block_parameters),
        row.weights_mib, m.MeanNll(), kl, predicted, m.TopAccuracy(1), m.TopAccuracy(5),
        m.TopAccuracy(10), answered);
  }
  return table;
}

std::string EvaluationPicture(const std::vector<Evaluation>& rows, const ReportParams& params) {
  std::map<std::string, std::vector<PlotPoint>> series;
  const int64_t parent_blocks = ParentBlocks(rows);
  for (const Evaluation& row : rows) {
    if (row.series.empty() || !row.has_kl) continue;
    series[row.series].push_back(
        {BlockSize(row, parent_blocks), row.metrics.MeanKl(), row.metrics.KlError()});
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
  std::sort(rows.begin(), rows.end(), [&](const Evaluation& a, const Evaluation& b) {
    return std::pair(position(a), a.label) < std::pair(position(b), b.label);
  });
  std::string text = EvaluationTable(rows);
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
