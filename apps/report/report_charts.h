// Small charts as SVG for a page with the style sheet of report_page.cpp: their colours are its
// variables, so that they follow light, dark and paper. Thread-safe (pure functions).
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace puzzle {

/// A table of numbers as coloured cells.
struct HeatMap {
  std::vector<std::string> columns, rows;
  std::vector<std::vector<std::optional<double>>> values;  // [row][column]
  std::vector<std::vector<std::string>> labels;            // in the cells; empty: none
  bool logarithmic = false;
  std::string unit;  // behind values in tooltips
};
[[nodiscard]] std::string HeatMapSvg(const HeatMap& map);

/// Groups of horizontal bars, one bar per series in each.
struct BarChart {
  struct Value {
    double value = 0;
    double error = 0;  // standard error, drawn as a whisker; 0: none
  };
  std::vector<std::string> groups, series;
  std::vector<std::vector<std::optional<Value>>> values;  // [group][series]
  std::string unit;
};
[[nodiscard]] std::string BarChartSvg(const BarChart& chart);

/// Stacked horizontal bars: the parts of a whole.
struct StackedBars {
  std::vector<std::string> rows, parts;
  std::vector<std::vector<double>> values;  // [row][part]
  std::string unit;
};
[[nodiscard]] std::string StackedBarsSvg(const StackedBars& chart);

/// "1.24", "0.0037", "135 M": as many digits as a reader can use.
[[nodiscard]] std::string ShortNumber(double value);

}  // namespace puzzle
