#include "graph/view/draw.h"

#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "graph/run/report.h"
#include "io/quantity.h"

namespace puzzle {
namespace {

using nlohmann::ordered_json;

std::string NodeLabel(const PlanNode& node, std::string_view line_end) {
  std::string label = node.name;
  if (node.name != node.kind->name) label += fmt::format("{}{}", line_end, node.kind->name);
  if (node.count != 1) label += fmt::format("{}{} steps", line_end, node.count);
  return label;
}

/// Edges between nodes: from, to, port.
std::set<std::tuple<uint32_t, uint32_t, std::string>> NodeEdges(const Plan& plan) {
  std::set<std::tuple<uint32_t, uint32_t, std::string>> edges;
  for (const Step& step : plan.steps) {
    const auto& ports = plan.nodes[step.node].kind->ports;
    for (size_t p = 0; p < step.inputs.size(); ++p) {
      for (const StepId input : step.inputs[p]) {
        edges.emplace(plan.steps[input].node, step.node, ports[p].name);
      }
    }
  }
  return edges;
}

std::string Escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '"') {
      result += "'";
    } else if (c == '\\') {
      result += "\\\\";
    } else {
      result += c;
    }
  }
  return result;
}

}  // namespace

std::string DrawDot(const Plan& plan, bool steps) {
  std::string text =
      "digraph puzzle {\n  rankdir=LR;\n  node [shape=box, style=rounded, fontname=sans];\n";
  if (steps) {
    for (StepId id = 0; id < plan.steps.size(); ++id) {
      text += fmt::format("  s{} [label=\"{}\"];\n", id, Escaped(plan.steps[id].name));
      for (const StepId input : plan.predecessors(id)) {
        text += fmt::format("  s{} -> s{};\n", input, id);
      }
    }
  } else {
    for (size_t n = 0; n < plan.nodes.size(); ++n) {
      text += fmt::format("  n{} [label=\"{}\"];\n", n, NodeLabel(plan.nodes[n], "\\n"));
    }
    for (const auto& [from, to, port] : NodeEdges(plan)) {
      text += fmt::format("  n{} -> n{} [label=\"{}\"];\n", from, to, port);
    }
  }
  return text + "}\n";
}

std::string DrawMermaid(const Plan& plan, bool steps) {
  std::string text = "flowchart LR\n";
  if (steps) {
    for (StepId id = 0; id < plan.steps.size(); ++id) {
      text += fmt::format("  s{}[\"{}\"]\n", id, Escaped(plan.steps[id].name));
      for (const StepId input : plan.predecessors(id)) {
        text += fmt::format("  s{} --> s{}\n", input, id);
      }
    }
    return text;
  }
  for (size_t n = 0; n < plan.nodes.size(); ++n) {
    text += fmt::format("  n{}[\"{}\"]\n", n, NodeLabel(plan.nodes[n], "<br/>"));
  }
  for (const auto& [from, to, port] : NodeEdges(plan)) {
    text += fmt::format("  n{} -->|{}| n{}\n", from, port, to);
  }
  return text;
}

std::string ForecastText(const Plan& plan, const Forecast& forecast, bool all, size_t lanes,
                         std::span<const std::shared_ptr<const Cause>> origins,
                         const std::optional<Outlook>& outlook) {
  std::string text;
  const auto because = [&](StepId id) {
    if (origins.empty() || !origins[id] || origins[id]->step == plan.steps[id].name)
      return std::string();
    return "  (because " + origins[id]->Text() + ")";
  };
  for (const PlanNode& node : plan.nodes) {
    struct Group {
      StepId first;
      size_t count = 0;
    };
    std::vector<std::pair<std::pair<std::string_view, std::string>, Group>>
        groups;  // in order of appearance
    std::map<std::pair<std::string_view, std::string>, size_t> index;
    for (StepId id = node.first; id < node.first + node.count; ++id) {
      const StepForecast& step = forecast.steps[id];
      if (all) {
        text += fmt::format("{:<4}  {}{}{}{}\n", FateName(step), plan.steps[id].name,
                            step.reason.empty() ? "" : "  ", step.reason, because(id));
        continue;
      }
      const auto [it, inserted] = index.try_emplace({FateName(step), step.group}, groups.size());
      if (inserted) groups.push_back({it->first, {id, 0}});
      ++groups[it->second].second.count;
    }
    for (const auto& [key, group] : groups) {
      const StepForecast& first = forecast.steps[group.first];
      const std::string name =
          group.count == 1 ? plan.steps[group.first].name
          : group.count == node.count
              ? fmt::format("{} ({} steps)", node.name, group.count)
              : fmt::format("{} ({} of {} steps, first {})", node.name, group.count, node.count,
                            plan.steps[group.first].name);
      const std::string& reason = group.count == 1 ? first.reason : first.group;
      text += fmt::format("{:<4}  {}{}{}{}\n", key.first, name, reason.empty() ? "" : "  ", reason,
                          because(group.first));
    }
  }
  text += fmt::format("{} steps: {} HIT", plan.steps.size(), forecast.hits);
  if (forecast.saved_s >= 0.05) text += " (saves " + DurationText(forecast.saved_s) + ")";
  text += fmt::format(", {} RUN, {} WAIT", forecast.runs, forecast.waits);
  if (forecast.runs + forecast.waits > 0) {
    text += fmt::format("; about {} on {} lane{}", DurationText(forecast.Estimate(lanes)), lanes,
                        lanes == 1 ? "" : "s");
    if (outlook) text += "; " + OutlookText(*outlook);
  }
  return text + '\n';
}

std::string ForecastJson(const Plan& plan, const Forecast& forecast, size_t lanes,
                         std::span<const std::shared_ptr<const Cause>> origins,
                         const std::optional<Outlook>& outlook) {
  ordered_json document;
  document["steps"] = {{"total", plan.steps.size()},
                       {"hit", forecast.hits},
                       {"run", forecast.runs},
                       {"wait", forecast.waits}};
  document["saved_s"] = forecast.saved_s;
  document["expected_s"] = forecast.Estimate(lanes);
  if (outlook) {
    document["disk_bytes"] = outlook->disk_bytes;
    document["memory_bytes"] = outlook->memory_bytes;
    document["unknown"] = outlook->unknown;
  }
  ordered_json& list = document["plan"] = ordered_json::array();
  for (StepId id = 0; id < plan.steps.size(); ++id) {
    const StepForecast& step = forecast.steps[id];
    ordered_json entry = {{"step", plan.steps[id].name},
                          {"node", plan.node_name(id)},
                          {"kind", plan.kind(id).name},
                          {"fate", FateName(step)}};
    if (!step.reason.empty()) entry["reason"] = step.reason;
    if (!step.key.empty()) entry["key"] = step.key;
    if (!origins.empty() && origins[id]) entry["cause"] = CauseJson(*origins[id]);
    if (step.fate == Fate::kHit) {
      entry["digest"] = step.record.digest;
    } else {
      entry["expected_s"] = step.expected_s;
    }
    list.push_back(std::move(entry));
  }
  return document.dump(2, ' ', false, ordered_json::error_handler_t::replace) + '\n';
}

}  // namespace puzzle
