#include "graph/run/curves.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

namespace puzzle {

namespace {

/// Letters, digits, blanks: what needs no escape in JSON, and no thought elsewhere.
bool IsCurveName(std::string_view text) {
  constexpr size_t kMostBytes = 32;
  return !text.empty() && text.size() <= kMostBytes &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == ' ' || c == '_' || c == '-';
         });
}

std::optional<double> NumberOf(std::string_view text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(number))
    return std::nullopt;
  return number;
}

}  // namespace

std::vector<std::pair<std::string_view, double>> NumbersIn(std::string_view note) {
  constexpr std::string_view kBetween = ", ";
  std::vector<std::pair<std::string_view, double>> numbers;
  while (!note.empty()) {
    const size_t end = std::min(note.find(kBetween), note.size());
    const std::string_view item = note.substr(0, end);
    note.remove_prefix(std::min(end + kBetween.size(), note.size()));
    const size_t blank = item.rfind(' ');
    if (blank == std::string_view::npos || !IsCurveName(item.substr(0, blank))) continue;
    if (const auto number = NumberOf(item.substr(blank + 1)))
      numbers.emplace_back(item.substr(0, blank), *number);
  }
  return numbers;
}

void Curves::Add(double fraction, std::string_view note) {
  for (const auto& [name, number] : NumbersIn(note)) {
    auto curve = std::find_if(curves_.begin(), curves_.end(),
                              [&, &wanted = name](const Curve& c) { return c.name == wanted; });
    if (curve == curves_.end()) {
      if (curves_.size() == kMostCurves) continue;
      curve = curves_.insert(curves_.end(), Curve{std::string(name), {}, {}});
    }
    curve->last = {std::clamp(fraction, 0.0, 1.0), number};
    if (curve->told++ % curve->every != 0) continue;
    curve->points.push_back(curve->last);
    if (curve->points.size() < kMostPoints) continue;
    for (size_t i = 0; i < kMostPoints / 2; ++i) curve->points[i] = curve->points[2 * i];
    curve->points.resize(kMostPoints / 2);
    curve->every *= 2;
  }
}

std::string Curves::Json() const {
  std::string text;
  for (const Curve& curve : curves_) {
    std::string points;
    const auto add = [&](const std::pair<double, double>& point) {
      points +=
          fmt::format("{}[{:.4g},{:.6g}]", points.empty() ? "" : ",", point.first, point.second);
    };
    for (const auto& point : curve.points) add(point);
    if (curve.last != curve.points.back()) add(curve.last);
    text += fmt::format("{}\"{}\":[{}]", text.empty() ? "" : ",", curve.name, points);
  }
  return text.empty() ? "" : "{" + text + "}";
}

}  // namespace puzzle
