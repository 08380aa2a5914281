// Quality against a budget: the optimum for many values of one limit, in one go. Every solution is
// the warm start of its neighbour. Values; the functions are thread-safe.
#pragma once

#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "nodes/search/variant_table.h"
#include "nodes/solver/search_methods.h"

namespace puzzle {

/// A limit in units of its resource, or in per cent of the parent's total.
struct BudgetValue {
  double value = 0;
  bool percent = false;

  /// "70%", "80000": what ReadLimits takes.
  [[nodiscard]] std::string Text() const;
};

/// 80000 or "70%". Throws Error for anything else.
[[nodiscard]] BudgetValue ReadBudgetValue(const std::string& text);

/// Budgets of one resource between two ends.
struct BudgetRange {
  std::string resource;
  BudgetValue from, to;
  int64_t points = 2;
  /// Else an even grid: halve the interval over which the objective changes most, again and again.
  bool bisect = false;
};

/// "memory_mib=50%..100%:50", with ":bisect" behind it if wanted. Throws Error for anything else.
[[nodiscard]] BudgetRange ReadBudgetRange(const std::string& text);
/// Throws Error when the ends differ in kind, when there are fewer than two points, and for
/// throughput: budgets are what is spent at most.
void CheckBudgetRange(const BudgetRange& range);

struct FrontierPoint {
  std::string method;  // "exact", or a baseline's name
  BudgetValue budget;
  double batch = 0;  // of the table that it is from
  MipSolution solution;
  std::vector<int> variants;             // per group; empty without a solution
  std::map<std::string, double> totals;  // empty without a solution
  bool dominated =
      false;  // another point of the method is no worse in anything, better in something
};

struct Frontier {
  std::string resource;                  // that was swept
  std::vector<FrontierPoint> points;     // of the solver, by table and budget
  std::vector<FrontierPoint> baselines;  // at the same budgets
};

struct SweepRequest {
  BudgetRange range;
  Objective objective;
  SearchSettings settings;
  std::vector<std::string> baselines;  // methods to compare with
};

/// `tables` differ in the batch size, if there are several; `min` and `max` hold besides the swept
/// budget; `request.settings.sizes` are filled in. Points are compared by objective, the swept
/// resource and, where it is known, throughput. Throws Error like ReadLimits and CheckBudgetRange,
/// and where `max` limits what is swept.
[[nodiscard]] Frontier Sweep(const std::vector<VariantTable>& tables, const SweepRequest& request,
                             const nlohmann::json& min, const nlohmann::json& max,
                             const std::function<void(const std::string&)>& warn);

/// A table for people, a line per point of the solver.
[[nodiscard]] std::string FrontierTable(const Frontier& frontier);
/// The frontier and the baselines as a picture (SVG text).
[[nodiscard]] std::string FrontierSvg(const Frontier& frontier);

}  // namespace puzzle
