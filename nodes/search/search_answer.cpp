#include "nodes/search/search_answer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace puzzle {

using nlohmann::ordered_json;

namespace {

// JSON has no infinity: what is not known is null.
ordered_json Known(double value) {
  return std::isfinite(value) ? ordered_json(value) : ordered_json(nullptr);
}

ordered_json SolutionJson(const VariantTable& table, const TableAnswer& answer,
                          const MipSolution& solution) {
  ordered_json json = {{"status", SolveStatusName(solution.status)},
                       {"objective", Known(solution.objective)},
                       {"bound", Known(solution.bound)},
                       {"gap", Known(solution.gap)},
                       {"time_s", solution.time_s},
                       {"totals", ordered_json::object()},
                       {"choice", ordered_json::array()}};
  if (solution.choice.empty()) return json;
  if (!answer.minimized.empty()) json["loss"] = LossOf(answer, solution);
  const TableChoice choice = ChoiceInTable(table, answer.search, solution);
  for (const auto& [resource, total] : choice.totals) json["totals"][resource] = total;
  for (size_t g = 0; g < choice.variants.size(); ++g) {
    json["choice"].push_back(table.groups[g].variants[choice.variants[g]].name);
  }
  return json;
}

ordered_json NearestJson(const MipSolution& solution) {
  ordered_json nearest = ordered_json::array();
  for (const WorkableLimit& limit : solution.nearest) {
    nearest.push_back({{"resource", limit.resource},
                       {"side", limit.high ? "max" : "min"},
                       {"asked", limit.asked},
                       {"works", limit.works}});
  }
  return nearest;
}

std::string OneLine(std::string name) {
  std::replace(name.begin(), name.end(), '\t', ' ');
  return name;
}

std::string LimitText(const MipLimit& limit) {
  std::string text;
  if (std::isfinite(limit.low)) text += fmt::format("  >= {:.12g}", limit.low);
  if (std::isfinite(limit.high)) text += fmt::format("  <= {:.12g}", limit.high);
  return text;
}

std::string TotalsText(const VariantTable& table, const SearchProblem& search,
                       const TableChoice& choice) {
  std::vector<int> parent(table.groups.size(), 0);
  const std::map<std::string, double> whole = TotalsByName(table, parent);
  size_t width = 0;
  for (const auto& [resource, total] : choice.totals) width = std::max(width, resource.size());
  std::string text;
  for (const auto& [resource, total] : choice.totals) {
    text += fmt::format("{:<{}} {:>18.12g}", resource, width, total);
    const double of = whole.at(resource);
    text += of != 0 ? fmt::format("  {:>6.1f} % of the parent", 100 * total / of) : "";
    for (const MipLimit& limit : search.problem.limits) {
      if (limit.resource == resource) text += LimitText(limit);
    }
    text += '\n';
  }
  return text;
}

// What was minimised, and what it came to.
std::string HeadText(const TableAnswer& answer, const MipSolution& solution,
                     const std::string& method) {
  const std::string end =
      fmt::format("gap {:.3g} %, {:.4f} s\n", 100 * solution.gap, solution.time_s);
  const std::string begin = fmt::format("{} ({}): ", SolveStatusName(solution.status), method);
  if (answer.minimized.empty()) {
    return fmt::format("{}objective {:.6f}, bound {:.6f}, {}", begin, solution.objective,
                       solution.bound, end);
  }
  const MipLimit& loss = answer.search.problem.limits.back();
  return fmt::format("{}least {} {:.12g}, bound {:.12g}, {}{} {:.6f}{}\n", begin, answer.minimized,
                     solution.objective, solution.bound, end, loss.resource,
                     LossOf(answer, solution), LimitText(loss));
}

std::string SolutionText(const VariantTable& table, const TableAnswer& answer,
                         const MipSolution& solution, const std::string& method) {
  std::string text = HeadText(answer, solution, method);
  const TableChoice choice = ChoiceInTable(table, answer.search, solution);
  text += TotalsText(table, answer.search, choice) + '\n';
  for (size_t g = 0; g < choice.variants.size(); ++g) {
    std::string group = table.groups[g].name;
    if (group.starts_with("layer_")) group.replace(0, 6, "block_");
    text +=
        fmt::format("{}:  {}\n", group, OneLine(table.groups[g].variants[choice.variants[g]].name));
  }
  return text;
}

}  // namespace

TableChoice ChoiceInTable(const VariantTable& table, const SearchProblem& search,
                          const MipSolution& solution) {
  TableChoice choice;
  for (size_t g = 0; g < solution.choice.size(); ++g) {
    choice.variants.push_back(search.variants[g][solution.choice[g]]);
  }
  choice.totals = TotalsByName(table, choice.variants);
  return choice;
}

ordered_json AnswerJson(const VariantTable& table, const TableAnswer& answer) {
  const MipSolution& best = answer.solutions.front();
  ordered_json json = SolutionJson(table, answer, best);
  if (!answer.minimized.empty()) json["minimized"] = answer.minimized;
  json["solutions"] = ordered_json::array();
  if (best.choice.empty()) {
    json["explanation"] = best.explanation;
    json["nearest"] = NearestJson(best);
    return json;
  }
  if (answer.free) {
    json["uniform"] = {{"shape", answer.shape}, {"free_objective", Known(answer.free->objective)}};
  }
  for (const MipSolution& solution : answer.solutions) {
    json["solutions"].push_back(SolutionJson(table, answer, solution));
  }
  const std::string& missing = answer.solutions.back().explanation;
  if (!missing.empty()) json["explanation"] = missing;
  return json;
}

std::string AnswerText(const VariantTable& table, const TableAnswer& answer,
                       const std::string& method) {
  const MipSolution& best = answer.solutions.front();
  if (best.choice.empty()) {
    std::string text =
        fmt::format("{} ({}): {}\n", SolveStatusName(best.status), method, best.explanation);
    for (const WorkableLimit& limit : best.nearest) {
      text += fmt::format("would work: {} {} {:.12g} (asked {:.12g})\n", limit.resource,
                          limit.high ? "<=" : ">=", limit.works, limit.asked);
    }
    return text;
  }
  std::string text;
  const size_t n = answer.solutions.size();
  for (size_t i = 0; i < n; ++i) {
    if (n > 1) text += fmt::format("{}solution {} of {}\n", i == 0 ? "" : "\n", i + 1, n);
    text += SolutionText(table, answer, answer.solutions[i], method);
  }
  const std::string& missing = answer.solutions.back().explanation;
  if (!missing.empty()) text += '\n' + missing + '\n';
  const std::string uniform = answer.UniformText();
  return uniform.empty() ? text : text + '\n' + uniform + '\n';
}

}  // namespace puzzle
