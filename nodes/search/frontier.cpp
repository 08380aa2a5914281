#include "nodes/search/frontier.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "io/error.h"

namespace puzzle {

using nlohmann::json;

namespace {

constexpr int64_t kMaxPoints = 100'000;

// The fraction of the way between the ends of a range.
BudgetValue Between(const BudgetRange& range, double fraction) {
  return {range.from.value + fraction * (range.to.value - range.from.value), range.from.percent};
}

// Solves one table at one budget after the other.
class TableSweep {
 public:
  TableSweep(const VariantTable& table, const SweepRequest& request, const json& min,
             const json& max, const std::function<void(const std::string&)>& warn)
      : table_(table), request_(request), min_(min), max_(max), warn_(warn) {}

  FrontierPoint Solve(const BudgetValue& budget, const std::string& method) {
    json max = max_;
    const json limit = budget.percent ? json(budget.Text()) : json(budget.value);
    max[request_.range.resource] = limit;
    const std::vector<MipLimit> limits = ReadLimits(table_, min_, max);
    if (!search_) {
      search_ = MakeSearchProblem(table_, request_.objective, limits, warn_);
    }
    search_->problem.limits = limits;  // the same resources in the same order as before
    SearchSettings settings = request_.settings;
    settings.method = method;
    settings.pool = 1;
    settings.sizes = ParameterCounts(table_, *search_);
    if (method == request_.settings.method) settings.hint = hint_;
    FrontierPoint point{method, budget, table_.batch, {}, {}, {}, false};
    point.solution = Search(search_->problem, settings).front();
    if (point.solution.choice.empty()) return point;
    if (method == request_.settings.method) {
      hint_ = {point.solution.multipliers, point.solution.choice};
    }
    for (size_t g = 0; g < point.solution.choice.size(); ++g) {
      point.variants.push_back(search_->variants[g][point.solution.choice[g]]);
    }
    point.totals = TotalsByName(table_, point.variants);
    return point;
  }

  std::vector<FrontierPoint> Grid() {
    std::vector<FrontierPoint> points;
    const auto last = static_cast<double>(request_.range.points - 1);
    for (int64_t i = 0; i < request_.range.points; ++i) {
      points.push_back(
          Solve(Between(request_.range, static_cast<double>(i) / last), request_.settings.method));
    }
    return points;
  }

  std::vector<FrontierPoint> Bisection() {
    std::vector<FrontierPoint> points = {Solve(request_.range.from, request_.settings.method),
                                         Solve(request_.range.to, request_.settings.method)};
    while (static_cast<int64_t>(points.size()) < request_.range.points) {
      size_t widest = 1;
      double most = -1;
      for (size_t i = 1; i < points.size(); ++i) {
        const double step = Step(points[i - 1], points[i]);
        if (step > most) {
          most = step;
          widest = i;
        }
      }
      const BudgetValue middle{(points[widest - 1].budget.value + points[widest].budget.value) / 2,
                               request_.range.from.percent};
      points.insert(points.begin() + static_cast<std::ptrdiff_t>(widest),
                    Solve(middle, request_.settings.method));
    }
    return points;
  }

 private:
  // How much of the whole range lies between neighbours: what changes in the objective, and a
  // little of what changes in the budget, so that flat stretches are filled in the end.
  [[nodiscard]] double Step(const FrontierPoint& a, const FrontierPoint& b) const {
    const double width =
        std::abs(b.budget.value - a.budget.value) /
        std::max(std::abs(request_.range.to.value - request_.range.from.value), 1e-300);
    if (a.variants.empty() != b.variants.empty()) return 1e6 * width;  // where it becomes possible
    if (a.variants.empty()) return 0;
    return std::abs(a.solution.objective - b.solution.objective) + 1e-9 * width;
  }

  const VariantTable& table_;
  const SweepRequest& request_;
  const json& min_;
  const json& max_;
  const std::function<void(const std::string&)>& warn_;
  std::optional<SearchProblem> search_;
  MipHint hint_;
};

std::optional<double> Total(const FrontierPoint& point, const std::string& name) {
  const auto it = point.totals.find(name);
  if (it == point.totals.end()) return std::nullopt;
  return it->second;
}

// `a` is no worse than `b` in anything, and better in something (or the same thing, found earlier).
bool Dominates(const FrontierPoint& a, const FrontierPoint& b, const std::string& resource,
               bool earlier) {
  const double quality = b.solution.objective - a.solution.objective;
  const double saving = *Total(b, resource) - *Total(a, resource);
  const double speed = Total(a, "throughput").value_or(0) - Total(b, "throughput").value_or(0);
  if (quality < 0 || saving < 0 || speed < 0) return false;
  return quality > 0 || saving > 0 || speed > 0 || earlier;
}

void MarkDominated(std::vector<FrontierPoint>& points, const std::string& resource) {
  for (size_t b = 0; b < points.size(); ++b) {
    if (points[b].variants.empty()) continue;
    for (size_t a = 0; a < points.size() && !points[b].dominated; ++a) {
      if (a == b || points[a].variants.empty() || points[a].method != points[b].method) continue;
      points[b].dominated = Dominates(points[a], points[b], resource, a < b);
    }
  }
}

// The name under which totals hold what limits call so.
std::string TotalName(const VariantTable& table, const std::string& resource) {
  const json any = {{resource, 1}};
  return ReadLimits(table, json::object(), any).front().resource;
}

}  // namespace

std::string BudgetValue::Text() const {
  return fmt::format("{:.12g}{}", value, percent ? "%" : "");
}

BudgetValue ReadBudgetValue(const std::string& text) {
  BudgetValue budget;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, budget.value);
  budget.percent = std::string_view(rest, end - rest) == "%";
  if (error != std::errc() || (rest != end && !budget.percent) || !std::isfinite(budget.value)) {
    throw Error(fmt::format("\"{}\": expected a number or a percentage such as 70%", text));
  }
  return budget;
}

BudgetRange ReadBudgetRange(const std::string& text) {
  BudgetRange range;
  const size_t equals = text.find('='), dots = text.find(".."), colon = text.find(':');
  if (equals == std::string::npos || equals == 0 || dots == std::string::npos || dots < equals ||
      colon == std::string::npos || colon < dots) {
    throw Error(
        fmt::format("\"{}\": expected RESOURCE=FROM..TO:POINTS such as "
                    "memory_mib=50%..100%:50",
                    text));
  }
  range.resource = text.substr(0, equals);
  range.from = ReadBudgetValue(text.substr(equals + 1, dots - equals - 1));
  range.to = ReadBudgetValue(text.substr(dots + 2, colon - dots - 2));
  std::string points = text.substr(colon + 1);
  constexpr std::string_view kBisect = ":bisect";
  if (points.ends_with(kBisect)) {
    range.bisect = true;
    points.resize(points.size() - kBisect.size());
  }
  const auto [rest, error] =
      std::from_chars(points.data(), points.data() + points.size(), range.points);
  if (error != std::errc() || rest != points.data() + points.size()) {
    throw Error(fmt::format("\"{}\": \"{}\" is not a number of points", text, points));
  }
  CheckBudgetRange(range);
  return range;
}

void CheckBudgetRange(const BudgetRange& range) {
  if (range.resource == "throughput") {
    throw Error(
        "a sweep of throughput: throughput is no cost; latency_ms is the time that limits it");
  }
  if (range.points < 2 || range.points > kMaxPoints) {
    throw Error(fmt::format("a sweep of {} has 2 to {} points, not {}", range.resource, kMaxPoints,
                            range.points));
  }
  if (range.from.percent != range.to.percent) {
    throw Error(fmt::format("a sweep of {} ends at {} and {}: both must be percentages, or none",
                            range.resource, range.from.Text(), range.to.Text()));
  }
}

Frontier Sweep(const std::vector<VariantTable>& tables, const SweepRequest& request,
               const json& min, const json& max,
               const std::function<void(const std::string&)>& warn) {
  PUZZLE_CHECK(!tables.empty(), "nothing to sweep");
  CheckBudgetRange(request.range);
  if (max.contains(request.range.resource)) {
    throw Error(fmt::format("max: {} is what is swept", request.range.resource));
  }
  Frontier frontier;
  frontier.resource = TotalName(tables.front(), request.range.resource);
  for (const VariantTable& table : tables) {
    TableSweep sweep(table, request, min, max, warn);
    std::vector<FrontierPoint> points = request.range.bisect ? sweep.Bisection() : sweep.Grid();
    for (const FrontierPoint& point : points) {
      for (const std::string& method : request.baselines) {
        frontier.baselines.push_back(sweep.Solve(point.budget, method));
      }
    }
    std::move(points.begin(), points.end(), std::back_inserter(frontier.points));
  }
  MarkDominated(frontier.points, frontier.resource);
  MarkDominated(frontier.baselines, frontier.resource);
  return frontier;
}

std::string FrontierTable(const Frontier& frontier) {
  const bool batches = std::any_of(
      frontier.points.begin(), frontier.points.end(),
      [&](const FrontierPoint& point) { return point.batch != frontier.points.front().batch; });
  std::string table =
      fmt::format("{:>12}  {}{:>14}  {:>12}  {:<10}\n", "budget", batches ? " batch  " : "",
                  frontier.resource, "objective", "status");
  for (const FrontierPoint& point : frontier.points) {
    table += fmt::format("{:>12}  ", point.budget.Text());
    if (batches) table += fmt::format("{:>6}  ", point.batch);
    if (point.variants.empty()) {
      table +=
          fmt::format("{:>14}  {:>12}  {}\n", "-", "-", SolveStatusName(point.solution.status));
      continue;
    }
    table += fmt::format("{:>14.6g}  {:>12.6f}  {}{}\n", *Total(point, frontier.resource),
                         point.solution.objective, SolveStatusName(point.solution.status),
                         point.dominated ? ", dominated" : "");
  }
  return table;
}

}  // namespace puzzle
