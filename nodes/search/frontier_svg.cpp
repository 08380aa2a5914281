#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "nodes/measure/plot.h"
#include "nodes/search/frontier.h"

namespace puzzle {
namespace {

// The solver's points, named by batch where there are several.
std::string SeriesName(const Frontier& frontier, const FrontierPoint& point) {
  const bool batches = std::any_of(
      frontier.points.begin(), frontier.points.end(),
      [&](const FrontierPoint& other) { return other.batch != frontier.points.front().batch; });
  return batches ? fmt::format("optimum, batch {}", point.batch) : "optimum";
}

PlotPoint MarkOf(const FrontierPoint& point, const std::string& resource) {
  return {point.totals.at(resource), point.solution.objective};
}

void Append(Plot& plot, const std::map<std::string, std::vector<PlotPoint>>& series, bool main) {
  for (const auto& [name, points] : series) plot.series.push_back({name, points, main, main});
}

}  // namespace

std::string FrontierSvg(const Frontier& frontier) {
  std::map<std::string, std::vector<PlotPoint>> optima, baselines;
  for (const FrontierPoint& point : frontier.points) {
    if (point.variants.empty()) continue;
    std::vector<PlotPoint>& points = optima[SeriesName(frontier, point)];
    if (!point.dominated) points.push_back(MarkOf(point, frontier.resource));
  }
  for (const FrontierPoint& point : frontier.baselines) {
    std::vector<PlotPoint>& points = baselines[point.method];  // named even where it found nothing
    if (!point.variants.empty()) points.push_back(MarkOf(point, frontier.resource));
  }
  Plot plot{frontier.resource, "objective (lower is better)", {}, "no budget can be met"};
  if (!optima.empty()) {
    Append(plot, optima, true);
    Append(plot, baselines, false);
  }
  return PlotSvg(plot);
}

}  // namespace puzzle
