#include "graph/view/html_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "graph/view/graph_svg.h"
#include "graph/view/svg.h"
#include "graph/view/timeline_svg.h"
#include "io/quantity.h"

namespace puzzle {
namespace {

constexpr size_t kMaxPictures = 50;
constexpr size_t kSlowest = 20;
constexpr size_t kMaxFailures = 200;
constexpr std::string_view kPictureMember = "\"picture_svg\":";

constexpr std::string_view kStyle = R"(
body{font:14px/1.45 sans-serif;color:#223;margin:0 auto;max-width:1140px;padding:16px}
h1{font-size:20px;margin:0 0 4px}h2{font-size:16px;margin:28px 0 8px}
table{border-collapse:collapse}td,th{padding:2px 12px 2px 0;text-align:left;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
pre{background:#f5f5f8;padding:8px;overflow:auto;white-space:pre-wrap;margin:4px 0 12px}
.cards{display:flex;flex-wrap:wrap;gap:10px;margin:12px 0}
.card{background:#f5f5f8;border-radius:6px;padding:8px 14px}.card b{display:block;font-size:18px}
.bad{color:#b00}.wide{overflow-x:auto}.soft{color:#667}figure{margin:0 0 12px}
)";

/// Rows of an HTML table; columns after the first `texts` hold numbers.
class Table {
 public:
  Table(std::vector<std::string> heads, size_t texts) : texts_(texts) { Row(heads, "th"); }
  void Row(const std::vector<std::string>& cells, const char* tag = "td") {
    text_ += "<tr>";
    for (size_t i = 0; i < cells.size(); ++i) {
      fmt::format_to(std::back_inserter(text_), "<{0}{1}>{2}</{0}>", tag,
                     i < texts_ ? "" : " class=\"n\"", XmlText(cells[i]));
    }
    text_ += "</tr>\n";
  }
  std::string Text() const { return "<table>\n" + text_ + "</table>\n"; }

 private:
  size_t texts_;
  std::string text_;
};

std::string Head(const Report& report, const HtmlReportOptions& options) {
  std::string text = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\n<title>{0}</title>\n"
      "<style>{1}</style></head>\n<body>\n<h1>{0}</h1>\n<p class=\"soft\">{2} &#183; {3}</p>\n"
      "<pre>{4}</pre>\n<p>{5}</p>\n<div class=\"cards\">",
      XmlText(options.title), kStyle, XmlText(options.date), XmlText(options.tool),
      XmlText(options.command), XmlText(SummaryLine(report)));
  const auto card = [&](const std::string& value, const char* what, bool bad = false) {
    text += fmt::format("<div class=\"card\"><b{}>{}</b>{}</div>", bad ? " class=\"bad\"" : "",
                        value, what);
  };
  card(std::to_string(report.Count(Outcome::kOk)), "steps run");
  card(std::to_string(report.Count(Outcome::kCached)), "found in the store");
  if (const size_t failed = report.Count(Outcome::kFailed); failed > 0) {
    card(std::to_string(failed), "failed", true);
  }
  const size_t rest = report.Count(Outcome::kSkipped) + report.Count(Outcome::kCancelled);
  if (rest > 0) card(std::to_string(rest), "not begun", true);
  card(DurationText(report.wall_s), "wall time");
  card(DurationText(report.critical_path_s), "critical path");
  card(DurationText(report.saved_s), "saved by found results");
  return text + "</div>\n";
}

std::string Failures(const Plan& plan, const Report& report) {
  std::string text;
  size_t count = 0;
  for (StepId id = 0; id < plan.steps.size(); ++id) {
    if (report.steps[id].outcome != Outcome::kFailed) continue;
    if (++count > kMaxFailures) continue;
    text += fmt::format("<p><b class=\"bad\">{}</b> ({}, after {})</p><pre>{}</pre>\n",
                        XmlText(plan.steps[id].name), XmlText(plan.kind(id).name),
                        DurationText(report.steps[id].wall_s), XmlText(report.steps[id].message));
  }
  if (count > kMaxFailures) text += fmt::format("<p>and {} more</p>\n", count - kMaxFailures);
  if (text.empty()) return text;
  return "<h2>Failures</h2>\n" + text;
}

std::string Pictures(const std::vector<Picture>& pictures) {
  std::string text;
  for (const Picture& picture : pictures) {
    text += fmt::format(
        "<figure><figcaption>{0}</figcaption><img alt=\"{0}\" "
        "src=\"data:image/svg+xml;base64,{1}\"/></figure>\n",
        XmlText(picture.step), Base64(picture.svg));
  }
  return text.empty() ? text : "<h2>Results</h2>\n" + text;
}

std::string CriticalPathTable(const Plan& plan, const Report& report,
                              const std::vector<StepId>& path) {
  if (path.empty()) return {};
  Table table({"step", "kind", "seconds", "of the path"}, 2);
  for (const StepId id : path) {
    const double wall_s = report.steps[id].wall_s;
    table.Row({plan.steps[id].name, plan.kind(id).name, fmt::format("{:.2f}", wall_s),
               fmt::format("{:.0f} %", 100 * wall_s / report.critical_path_s)});
  }
  return "<h2>Critical path</h2>\n" + table.Text();
}

std::string Slowest(const Plan& plan, const Report& report) {
  std::vector<StepId> ran;
  for (StepId id = 0; id < plan.steps.size(); ++id) {
    if (report.steps[id].wall_s > 0) ran.push_back(id);
  }
  if (ran.empty()) return {};
  const size_t shown = std::min(ran.size(), kSlowest);
  std::partial_sort(
      ran.begin(), ran.begin() + static_cast<ptrdiff_t>(shown), ran.end(),
      [&](StepId a, StepId b) { return report.steps[a].wall_s > report.steps[b].wall_s; });
  Table table({"step", "kind", "seconds", "memory MiB"}, 2);
  for (size_t i = 0; i < shown; ++i) {
    const StepResult& step = report.steps[ran[i]];
    table.Row({plan.steps[ran[i]].name, plan.kind(ran[i]).name, fmt::format("{:.2f}", step.wall_s),
               step.memory_bytes == 0
                   ? ""
                   : fmt::format("{:.0f}", static_cast<double>(step.memory_bytes) / 1048576.0)});
  }
  return "<h2>Slowest steps</h2>\n" + table.Text();
}

std::string Nodes(const Plan& plan, const Report& report) {
  Table table({"node", "kind", "steps", "run", "seconds run", "cached", "seconds saved"}, 2);
  for (const PlanNode& node : plan.nodes) {
    size_t ok = 0, cached = 0;
    double ran_s = 0, saved_s = 0;
    for (StepId id = node.first; id < node.first + node.count; ++id) {
      const StepResult& step = report.steps[id];
      ok += step.outcome == Outcome::kOk ? 1 : 0;
      ran_s += step.wall_s;
      if (step.outcome != Outcome::kCached) continue;
      ++cached;
      saved_s += step.record.wall_s;
    }
    table.Row({node.name, node.kind->name, std::to_string(node.count), std::to_string(ok),
               fmt::format("{:.1f}", ran_s), std::to_string(cached),
               fmt::format("{:.1f}", saved_s)});
  }
  return "<h2>Nodes and savings</h2>\n" + table.Text();
}

std::string Warnings(const Report& report) {
  if (report.warnings.empty()) return {};
  std::string text;
  for (size_t i = 0; i < std::min(report.warnings.size(), kMaxFailures); ++i) {
    text += XmlText(report.warnings[i]) + '\n';
  }
  return fmt::format("<h2>Warnings ({})</h2>\n<pre>{}</pre>\n", report.warnings.size(), text);
}

}  // namespace

std::vector<Picture> CollectPictures(const Plan& plan, const Report& report, const Store& store) {
  std::vector<Picture> pictures;
  for (StepId id = 0; id < plan.steps.size() && pictures.size() < kMaxPictures; ++id) {
    const Record& record = report.steps[id].record;
    if (record.json.find(kPictureMember) == std::string_view::npos) continue;
    try {
      const nlohmann::json svg = store.Open(record)->Attribute("picture_svg");
      if (svg.is_string()) pictures.push_back({plan.steps[id].name, svg.get<std::string>()});
    } catch (const std::exception&) {  // damaged since: the next run makes it again
      continue;
    }
  }
  return pictures;
}

std::string HtmlReport(const Plan& plan, const Report& report, const Timeline& timeline,
                       const std::vector<Picture>& pictures, const HtmlReportOptions& options) {
  const std::vector<StepId> path = CriticalPath(plan, report);
  return Head(report, options) + Failures(plan, report) + Pictures(pictures) +
         "<h2>Time line</h2>\n<div class=\"wide\">" + TimelineSvg(plan, timeline, path) +
         "</div>\n" + CriticalPathTable(plan, report, path) + Slowest(plan, report) +
         Nodes(plan, report) + "<h2>Graph</h2>\n<div class=\"wide\">" + GraphSvg(plan, report) +
         "</div>\n" + Warnings(report) + "</body></html>\n";
}

}  // namespace puzzle
