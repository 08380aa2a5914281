#include "apps/report/report_charts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "graph/view/svg.h"

namespace puzzle {
namespace {

constexpr double kLabel = 170;  // pixels for the names on the left
constexpr double kWidth = 400;  // of bars
constexpr double kValue = 90;   // behind them
constexpr double kBar = 14;
constexpr size_t kColours = 8;
constexpr size_t kNameColumns = 26;

std::string Open(double width, double height, const char* what) {
  return fmt::format(
      R"(<svg class="chart" role="img" aria-label="{}" viewBox="0 0 {:.0f} {:.0f}" width="{:.0f}" height="{:.0f}">)",
      what, width, height, width, height);
}

std::string Text(double x, double y, const std::string& text, const char* anchor = "start") {
  return fmt::format(R"(<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>)", x, y, anchor,
                     XmlText(text));
}

std::string Legend(const std::vector<std::string>& names) {
  std::string text = "<p class=\"legend\">";
  for (size_t i = 0; i < names.size(); ++i)
    text += fmt::format("<span><i class=\"c{}\"></i>{}</span> ", i % kColours, XmlText(names[i]));
  return text + "</p>";
}

// 0 to 1 over the values of a map.
class Shade {
 public:
  explicit Shade(const HeatMap& map) : logarithmic_(map.logarithmic) {
    for (const auto& row : map.values)
      for (const auto& value : row) {
        if (!value || !std::isfinite(*value) || (logarithmic_ && *value <= 0)) continue;
        low_ = std::min(low_, At(*value));
        high_ = std::max(high_, At(*value));
      }
  }
  [[nodiscard]] double Of(double value) const {
    if (!std::isfinite(value)) return 1;
    if (logarithmic_ && value <= 0) return 0;
    return high_ > low_ ? (At(value) - low_) / (high_ - low_) : 0.5;
  }

 private:
  [[nodiscard]] double At(double value) const { return logarithmic_ ? std::log(value) : value; }

  bool logarithmic_;
  double low_ = HUGE_VAL, high_ = -HUGE_VAL;
};

}  // namespace

std::string ShortNumber(double value) {
  const double size = std::abs(value);
  if (!std::isfinite(value)) return fmt::format("{}", value);
  if (size >= 1e9) return fmt::format("{:.2f} G", value / 1e9);
  if (size >= 1e6) return fmt::format("{:.1f} M", value / 1e6);
  if (size >= 1000 || value == std::floor(value)) return fmt::format("{:.0f}", value);
  if (size >= 100) return fmt::format("{:.1f}", value);
  if (size >= 0.01) return fmt::format("{:.3g}", value);
  return fmt::format("{:.2g}", value);
}

std::string HeatMapSvg(const HeatMap& map) {
  constexpr double kRow = 18, kName = 64, kLine = 13;
  size_t lines = 1;
  for (const std::string& name : map.columns)
    lines = std::max<size_t>(lines, 1 + std::count(name.begin(), name.end(), ' '));
  const double head = 6 + kLine * static_cast<double>(lines);
  const double cell =
      map.labels.empty()
          ? std::clamp(600.0 / static_cast<double>(std::max<size_t>(map.columns.size(), 1)), 12.0,
                       40.0)
          : 54;
  const double width = kName + cell * static_cast<double>(map.columns.size()) + 8;
  const double height = head + kRow * static_cast<double>(map.rows.size()) + 8;
  const Shade shade(map);
  std::string text = Open(width, height, "coloured table");
  for (size_t c = 0; c < map.columns.size(); ++c) {
    // Word below word, the last one at the table: "80%" over "attn".
    const double x = kName + cell * (static_cast<double>(c) + 0.5);
    std::string_view rest = map.columns[c];
    for (double y = head - 6; !rest.empty(); y -= kLine) {
      const size_t space = rest.rfind(' ');
      const std::string_view word = rest.substr(space == std::string_view::npos ? 0 : space + 1);
      text += Text(x, y, Shortened(word, 9), "middle");
      rest = rest.substr(0, space == std::string_view::npos ? 0 : space);
    }
  }
  for (size_t r = 0; r < map.rows.size(); ++r) {
    const double y = head + kRow * static_cast<double>(r);
    text += Text(kName - 6, y + 13, map.rows[r], "end");
    for (size_t c = 0; c < map.values[r].size(); ++c) {
      const auto& value = map.values[r][c];
      const double x = kName + cell * static_cast<double>(c);
      const std::string name = map.labels.empty() ? "" : map.labels[r][c];
      if (!value && name.empty()) continue;
      const double strength = value ? shade.Of(*value) : 0;
      text += fmt::format(
          R"(<g><title>{}, {}: {}{}{}</title><rect class="heat" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" fill-opacity="{:.3f}"/>)",
          XmlText(map.rows[r]), XmlText(map.columns[c]), XmlText(name), name.empty() ? "" : " ",
          value ? ShortNumber(*value) + XmlText(map.unit) : "", x + 0.5, y + 0.5, cell - 1,
          kRow - 1, 0.06 + 0.9 * strength);
      if (!name.empty())
        text += fmt::format(
            R"(<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>)",
            strength > 0.55 ? "on" : "off", x + cell / 2, y + 13, XmlText(Shortened(name, 9)));
      text += "</g>";
    }
  }
  return text + "</svg>\n";
}

std::string BarChartSvg(const BarChart& chart) {
  double high = 0;
  for (const auto& group : chart.values)
    for (const auto& value : group)
      if (value && std::isfinite(value->value)) high = std::max(high, value->value + value->error);
  if (high <= 0) high = 1;
  const auto per_group = static_cast<double>(chart.series.size()) * kBar + 8;
  const double width = kLabel + kWidth + kValue;
  std::string text =
      Open(width, per_group * static_cast<double>(chart.groups.size()) + 4, "bar chart");
  for (size_t g = 0; g < chart.groups.size(); ++g) {
    const double top = per_group * static_cast<double>(g) + 4;
    text += Text(kLabel - 8, top + (per_group - 8) / 2 + 4,
                 Shortened(chart.groups[g], kNameColumns), "end");
    for (size_t s = 0; s < chart.series.size(); ++s) {
      const auto& value = chart.values[g][s];
      if (!value) continue;
      const double y = top + kBar * static_cast<double>(s);
      const auto at = [&](double v) { return kLabel + kWidth * std::clamp(v / high, 0.0, 1.0); };
      const double end = at(value->value);
      text += fmt::format(
          R"(<g><title>{}, {}: {}{}</title><rect class="c{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>)",
          XmlText(chart.groups[g]), XmlText(chart.series[s]), ShortNumber(value->value),
          XmlText(chart.unit), s % kColours, kLabel, y, std::max(end - kLabel, 0.5), kBar - 2);
      double label = end;
      if (value->error > 0) {
        label = at(value->value + value->error);
        text += fmt::format(
            R"(<path class="whisker" d="M{0:.1f} {2:.1f}H{1:.1f}M{0:.1f} {3:.1f}v6M{1:.1f} {3:.1f}v6"/>)",
            at(value->value - value->error), label, y + 6, y + 3);
      }
      text += Text(label + 5, y + 11, ShortNumber(value->value) + chart.unit) + "</g>";
    }
  }
  return (chart.series.size() > 1 ? Legend(chart.series) : "") + text + "</svg>\n";
}

std::string StackedBarsSvg(const StackedBars& chart) {
  double high = 0;
  for (const auto& row : chart.values) {
    double sum = 0;
    for (const double value : row) sum += value;
    high = std::max(high, sum);
  }
  if (high <= 0) high = 1;
  std::string text = Open(kLabel + kWidth + kValue,
                          kBar * static_cast<double>(chart.rows.size()) + 8, "stacked bars");
  for (size_t r = 0; r < chart.rows.size(); ++r) {
    const double y = kBar * static_cast<double>(r) + 4;
    text += Text(kLabel - 8, y + 11, Shortened(chart.rows[r], kNameColumns), "end");
    double x = kLabel, sum = 0;
    for (size_t p = 0; p < chart.values[r].size(); ++p) {
      const double value = chart.values[r][p];
      const double width = kWidth * value / high;
      text += fmt::format(
          R"(<g><title>{}, {}: {}{}</title><rect class="c{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/></g>)",
          XmlText(chart.rows[r]), XmlText(chart.parts[p]), ShortNumber(value), XmlText(chart.unit),
          p % kColours, x, y, width, kBar - 2);
      x += width;
      sum += value;
    }
    text += Text(x + 5, y + 11, ShortNumber(sum) + chart.unit);
  }
  return Legend(chart.parts) + text + "</svg>\n";
}

}  // namespace puzzle
