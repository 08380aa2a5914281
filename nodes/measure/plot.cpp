#include "nodes/measure/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "graph/view/svg.h"

namespace puzzle {
namespace {

constexpr double kWidth = 760, kHeight = 460;
constexpr double kLeft = 78, kRight = 168, kTop = 24, kBottom = 56;
constexpr double kHeadroom = 2.5;

constexpr std::array<const char*, 3> kMainColours = {"#1f4e99", "#4a90d9", "#0b2447"};
constexpr std::array<const char*, 8> kColours = {"#c0504d", "#7f9f3f", "#8064a2", "#d08030",
                                                 "#4bacc6", "#946c4e", "#b8578b", "#7a7a7a"};

// A span of values drawn on a span of pixels, with round ticks.
struct Axis {
  double low = 0, high = 1;
  double from = 0, to = 1;  // pixels

  [[nodiscard]] double At(double value) const {
    return from + (value - low) / (high - low) * (to - from);
  }
  [[nodiscard]] std::vector<double> Ticks() const {
    const double rough = (high - low) / 6;
    const double power = std::pow(10, std::floor(std::log10(rough)));
    const double part = rough / power;
    const double step = power * (part < 1.5 ? 1 : part < 3.5 ? 2 : part < 7.5 ? 5 : 10);
    std::vector<double> ticks;
    for (double k = std::ceil(low / step); k * step <= high * (1 + 1e-12); ++k) {
      ticks.push_back(k * step + 0.0);  // no -0
    }
    return ticks;
  }
};

// Values that only rounding tells apart are one: between them there are no numbers for ticks.
Axis Spanning(double low, double high, double from, double to) {
  const double size = std::max(std::abs(low), std::abs(high));
  const double margin = high - low > 1e-9 * size ? 0.04 * (high - low) : std::max(1.0, size);
  return {low - margin, high + margin, from, to};
}

class Picture {
 public:
  explicit Picture(const Plot& plot) : plot_(plot) {}

  std::string Draw() {
    Header();
    if (!FitAxes()) {
      Text(kWidth / 2, kHeight / 2, plot_.empty, "middle");
      return text_ + "</svg>\n";
    }
    Axes();
    DrawSeries(true, kMainColours);  // first in the legend
    const std::string main = std::exchange(text_, frame_);
    DrawSeries(false, kColours);
    return text_ + main + "</svg>\n";
  }

 private:
  [[nodiscard]] bool InView(const PlotPoint& point) const { return point.y <= ceiling_; }

  bool FitAxes() {
    double highest = -std::numeric_limits<double>::infinity();
    for (const PlotSeries& series : plot_.series) {
      if (!series.main) continue;
      for (const PlotPoint& point : series.points) highest = std::max(highest, point.y);
    }
    if (std::isfinite(highest)) ceiling_ = highest > 0 ? kHeadroom * highest : highest;
    PlotPoint low, high;
    bool any = false;
    for (const PlotSeries& series : plot_.series) {
      for (const PlotPoint& point : series.points) {
        if (!InView(point)) continue;
        if (!any) low = high = point;
        any = true;
        low = {std::min(low.x, point.x), std::min(low.y, point.y - point.error)};
        high = {std::max(high.x, point.x), std::max(high.y, point.y + point.error)};
      }
    }
    x_ = Spanning(low.x, high.x, kLeft, kWidth - kRight);
    y_ = Spanning(low.y, high.y, kHeight - kBottom, kTop);
    return any;
  }

  void Header() {
    text_ = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" "
        "height=\"{1}\" font-family=\"sans-serif\" font-size=\"12\">\n"
        "<rect width=\"{0}\" height=\"{1}\" fill=\"#ffffff\"/>\n",
        kWidth, kHeight);
  }
  void Text(double x, double y, const std::string& text, const char* anchor) {
    text_ +=
        fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" fill=\"#222\">{}</text>\n",
                    x, y, anchor, XmlText(text));
  }
  void Segment(double x1, double y1, double x2, double y2, const char* stroke) {
    text_ += fmt::format(
        "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\"/>\n", x1, y1,
        x2, y2, stroke);
  }

  void Axes() {
    for (const double tick : x_.Ticks()) {
      Segment(x_.At(tick), y_.from, x_.At(tick), y_.to, "#e4e4e4");
      Text(x_.At(tick), y_.from + 18, fmt::format("{:.6g}", tick), "middle");
    }
    for (const double tick : y_.Ticks()) {
      Segment(x_.from, y_.At(tick), x_.to, y_.At(tick), "#e4e4e4");
      Text(x_.from - 8, y_.At(tick) + 4, fmt::format("{:.4g}", tick), "end");
    }
    Segment(x_.from, y_.from, x_.to, y_.from, "#444");
    Segment(x_.from, y_.from, x_.from, y_.to, "#444");
    Text((x_.from + x_.to) / 2, kHeight - 14, plot_.x_label, "middle");
    text_ += fmt::format(
        "<text transform=\"translate(18 {:.1f}) rotate(-90)\" text-anchor=\"middle\" "
        "fill=\"#222\">{}</text>\n",
        (y_.from + y_.to) / 2, XmlText(plot_.y_label));
    frame_ = std::exchange(text_, {});
  }

  template <size_t kCount>
  void DrawSeries(bool main, const std::array<const char*, kCount>& colours) {
    size_t number = 0;
    for (const PlotSeries& series : plot_.series) {
      if (series.main == main) Draw(series, colours[number++ % kCount]);
    }
  }

  void Draw(const PlotSeries& series, const char* colour) {
    std::vector<PlotPoint> points;
    std::copy_if(series.points.begin(), series.points.end(), std::back_inserter(points),
                 [&](const PlotPoint& point) { return InView(point); });
    std::sort(points.begin(), points.end(),
              [](const PlotPoint& a, const PlotPoint& b) { return a.x < b.x; });
    if (series.joined) Line(points, colour, series.main ? 1.5 : 1);
    for (const PlotPoint& point : points) Mark(point, colour, series.main);
    Legend(points.empty() && !series.points.empty() ? series.name + " (far above)" : series.name,
           colour);
  }

  void Line(const std::vector<PlotPoint>& points, const char* colour, double width) {
    std::string path;
    for (const PlotPoint& point : points) {
      path += fmt::format("{:.1f},{:.1f} ", x_.At(point.x), y_.At(point.y));
    }
    text_ +=
        fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\"/>\n",
                    path, colour, width);
  }

  void Mark(const PlotPoint& point, const char* colour, bool round) {
    const double x = x_.At(point.x), y = y_.At(point.y);
    if (point.error > 0) {
      Segment(x, y_.At(point.y - point.error), x, y_.At(point.y + point.error), colour);
    }
    text_ += round ? fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.5\" fill=\"{}\"/>\n", x,
                                 y, colour)
                   : fmt::format(
                         "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"5\" height=\"5\" "
                         "fill=\"{}\"/>\n",
                         x - 2.5, y - 2.5, colour);
  }

  void Legend(const std::string& name, const char* colour) {
    const double x = kWidth - kRight + 16, y = kTop + 14 + 20 * legend_lines_++;
    text_ +=
        fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"10\" height=\"10\" fill=\"{}\"/>\n", x,
                    y - 9, colour);
    Text(x + 16, y, name, "start");
  }

  const Plot& plot_;
  double ceiling_ = std::numeric_limits<double>::infinity();
  Axis x_, y_;
  std::string frame_;  // background and axes
  std::string text_;
  int legend_lines_ = 0;
};

}  // namespace

std::string PlotSvg(const Plot& plot) {
  return Picture(plot).Draw();
}

}  // namespace puzzle
