#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "nodes/frontier.h"

namespace puzzle {
namespace {

constexpr double kWidth = 760, kHeight = 460;
constexpr double kLeft = 78, kRight = 168, kTop = 24, kBottom = 56;
// Baselines beyond this multiple of the frontier's own height are left out of the picture.
constexpr double kHeadroom = 2.5;

// The same for light and dark pages, and told apart without colours by the shape of the marks.
constexpr std::array<const char*, 8> kColours = {"#c0504d", "#7f9f3f", "#8064a2", "#d08030",
                                                 "#4bacc6", "#946c4e", "#b8578b", "#7a7a7a"};

std::string Escaped(const std::string& text) {
  std::string result;
  for (const char c : text) {
    result += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : std::string(1, c);
  }
  return result;
}

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

Axis Spanning(const std::vector<double>& values, double from, double to) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  Axis axis{*low, *high, from, to};
  const double margin =
      axis.high > axis.low ? 0.04 * (axis.high - axis.low) : std::max(1.0, std::abs(axis.high));
  axis.low -= margin;
  axis.high += margin;
  return axis;
}

struct Mark {
  double x = 0, y = 0;
};

std::vector<Mark> MarksOf(const std::vector<FrontierPoint>& points, const std::string& resource,
                          bool all) {
  std::vector<Mark> marks;
  for (const FrontierPoint& point : points) {
    if (point.variants.empty() || (point.dominated && !all)) continue;
    marks.push_back({point.totals.at(resource), point.solution.objective});
  }
  std::sort(marks.begin(), marks.end(), [](const Mark& a, const Mark& b) { return a.x < b.x; });
  return marks;
}

class Picture {
 public:
  explicit Picture(const Frontier& frontier) : frontier_(frontier) {
    for (const FrontierPoint& point : frontier.points) series_[SeriesName(point)].push_back(point);
    for (const FrontierPoint& point : frontier.baselines) {
      baselines_[point.method].push_back(point);
    }
  }

  std::string Draw() {
    Header();
    std::vector<double> xs, ys;
    for (const auto& [name, points] : series_) {
      for (const Mark& mark : MarksOf(points, frontier_.resource, true)) {
        xs.push_back(mark.x);
        ys.push_back(mark.y);
      }
    }
    if (xs.empty()) {
      Text(kWidth / 2, kHeight / 2, "no budget can be met", "middle");
      return text_ + "</svg>\n";
    }
    const double highest = *std::max_element(ys.begin(), ys.end());
    const double ceiling = highest > 0 ? kHeadroom * highest : highest;
    for (const auto& [name, points] : baselines_) {
      for (const Mark& mark : MarksOf(points, frontier_.resource, true)) {
        if (mark.y > ceiling) continue;
        xs.push_back(mark.x);
        ys.push_back(mark.y);
      }
    }
    x_ = Spanning(xs, kLeft, kWidth - kRight);
    y_ = Spanning(ys, kHeight - kBottom, kTop);
    Axes();
    size_t colour = 0;
    for (const auto& [name, points] : baselines_) {
      Scatter(name, points, ceiling, kColours[colour++ % kColours.size()]);
    }
    double shade = 1;
    for (const auto& [name, points] : series_) {
      Line(name, points, shade);
      shade *= 0.7;
    }
    return text_ + "</svg>\n";
  }

 private:
  [[nodiscard]] std::string SeriesName(const FrontierPoint& point) const {
    const bool batches = std::any_of(
        frontier_.points.begin(), frontier_.points.end(),
        [&](const FrontierPoint& other) { return other.batch != frontier_.points.front().batch; });
    return batches ? fmt::format("optimum, batch {}", point.batch) : "optimum";
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
                    x, y, anchor, Escaped(text));
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
    Text((x_.from + x_.to) / 2, kHeight - 14, frontier_.resource, "middle");
    text_ += fmt::format(
        "<text transform=\"translate(18 {:.1f}) rotate(-90)\" text-anchor=\"middle\" "
        "fill=\"#222\">objective (lower is better)</text>\n",
        (y_.from + y_.to) / 2);
  }

  void Legend(const std::string& name, const char* colour) {
    const double x = kWidth - kRight + 16, y = kTop + 14 + 20 * legend_lines_++;
    text_ +=
        fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"10\" height=\"10\" fill=\"{}\"/>\n", x,
                    y - 9, colour);
    Text(x + 16, y, name, "start");
  }

  void Scatter(const std::string& name, const std::vector<FrontierPoint>& points, double ceiling,
               const char* colour) {
    size_t drawn = 0;
    for (const Mark& mark : MarksOf(points, frontier_.resource, true)) {
      if (mark.y > ceiling) continue;
      ++drawn;
      text_ += fmt::format(
          "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"5\" height=\"5\" fill=\"{}\" "
          "opacity=\"0.8\"/>\n",
          x_.At(mark.x) - 2.5, y_.At(mark.y) - 2.5, colour);
    }
    Legend(drawn > 0 ? name : name + " (far above)", colour);
  }

  void Line(const std::string& name, const std::vector<FrontierPoint>& points, double shade) {
    constexpr const char* kColour = "#1f4e99";
    std::string path;
    for (const Mark& mark : MarksOf(points, frontier_.resource, false)) {
      path += fmt::format("{:.1f},{:.1f} ", x_.At(mark.x), y_.At(mark.y));
      text_ += fmt::format(
          "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\" fill=\"{}\" opacity=\"{:.2f}\"/>\n",
          x_.At(mark.x), y_.At(mark.y), kColour, shade);
    }
    text_ += fmt::format(
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.5\" "
        "opacity=\"{:.2f}\"/>\n",
        path, kColour, shade);
    Legend(name, kColour);
  }

  const Frontier& frontier_;
  std::map<std::string, std::vector<FrontierPoint>> series_, baselines_;
  Axis x_, y_;
  std::string text_;
  int legend_lines_ = 0;
};

}  // namespace

std::string FrontierSvg(const Frontier& frontier) {
  return Picture(frontier).Draw();
}

}  // namespace puzzle
