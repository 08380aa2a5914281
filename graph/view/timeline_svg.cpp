#include "graph/view/timeline_svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "graph/run/report.h"
#include "graph/view/svg.h"
#include "io/quantity.h"

namespace puzzle {
namespace {

constexpr double kWidth = 1100;
constexpr double kNames = 70;  // column of row names
constexpr double kRow = 26;
constexpr double kBarHeight = 20;
constexpr double kTop = 28;
constexpr double kLegendRow = 18;
constexpr double kLetter = 6.2;      // width of one at 11 px
constexpr double kTooNarrow = 0.75;  // in pixels

/// 1, 2 or 5 times a power of ten, so that about `count` of them make `total`.
double TickOf(double total, double count) {
  const double raw = std::max(total / count, 1e-4);
  const double power = std::pow(10, std::floor(std::log10(raw)));
  for (const double step : {1.0, 2.0, 5.0}) {
    if (step * power >= raw) return step * power;
  }
  return 10 * power;
}

std::string TickText(double seconds, double tick) {
  if (tick >= 1) return DurationText(std::max(seconds, 1.0));
  return fmt::format("{:.{}f}s", seconds, static_cast<int>(std::ceil(-std::log10(tick))));
}

/// One bar: a span, or several that are too narrow to be drawn on their own.
struct Bar {
  const Span* span = nullptr;
  double x = 0, end = 0;
  size_t count = 1;
};

class Drawing {
 public:
  Drawing(const Plan& plan, const Timeline& timeline, const std::vector<StepId>& path)
      : plan_(plan), timeline_(timeline), path_(path), critical_(path.begin(), path.end()) {
    scale_ = (kWidth - kNames - 10) / std::max(timeline.end_s, 1e-3);
  }

  std::string Draw() {
    for (const Span& span : timeline_.spans) {
      if (span.type != Span::Type::kCached) used_.insert(plan_.steps[span.step].node);
    }
    const double rows_end = kTop + kRow * static_cast<double>(timeline_.rows.size());
    const std::string legend = Legend(rows_end + 12);
    Axis(rows_end);
    for (size_t row = 0; row < timeline_.rows.size(); ++row) {
      Text(4, Y(row) + 14, XmlText(timeline_.rows[row].name), "r");
    }
    for (const Bar& bar : Bars()) Draw(bar);
    Path();
    return fmt::format(
               R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0:.0f} {1:.0f}" )"
               R"(width="{0:.0f}" height="{1:.0f}" font-family="sans-serif" font-size="11">)"
               R"(<style>.r{{font-weight:bold}}.l{{pointer-events:none}}.a{{fill:#667}}</style>)"
               R"(<defs><pattern id="vain" width="6" height="6" patternUnits="userSpaceOnUse" )"
               R"svg(patternTransform="rotate(45)"><rect width="6" height="6" fill="#fdd"/>)svg"
               R"(<rect width="2" height="6" fill="#c66"/></pattern></defs>)"
               R"(<rect width="100%" height="100%" fill="#fff"/>)",
               kWidth, legend_end_) +
           body_ + legend + "</svg>";
  }

 private:
  static double Y(size_t row) { return kTop + kRow * static_cast<double>(row); }
  double X(double seconds) const { return kNames + scale_ * seconds; }

  void Text(double x, double y, const std::string& text, const char* style) {
    fmt::format_to(std::back_inserter(body_), R"(<text x="{:.1f}" y="{:.1f}" class="{}">{}</text>)",
                   x, y, style, text);
  }

  void Axis(double bottom) {
    const double tick = TickOf(timeline_.end_s, 9);
    for (double s = 0; s <= timeline_.end_s; s += tick) {
      fmt::format_to(std::back_inserter(body_), R"(<path d="M{0:.1f} 20V{1:.1f}" stroke="#dde"/>)",
                     X(s), bottom);
      Text(X(s) + 2, 16, s == 0 ? "0" : TickText(s, tick), "a");
    }
  }

  std::vector<Bar> Bars() const {
    std::vector<Bar> bars;
    for (const Span& span : timeline_.spans) {
      Bar bar{&span, X(span.begin_s), X(span.end_s), 1};
      bar.end = std::max(bar.end, bar.x + kTooNarrow);
      if (!bars.empty() && Joins(bars.back(), bar)) {
        bars.back().end = std::max(bars.back().end, bar.end);
        ++bars.back().count;
      } else {
        bars.push_back(bar);
      }
    }
    return bars;
  }

  /// Narrow neighbours of one node and fate become one bar.
  bool Joins(const Bar& a, const Bar& b) const {
    if (a.span->row != b.span->row || a.span->type != b.span->type || b.x - a.end > kTooNarrow) {
      return false;
    }
    if (a.span->type == Span::Type::kCached) return true;
    const bool narrow =
        (a.end - a.x) / static_cast<double>(a.count) < 3 && b.end - b.x < 3 && b.end - a.x < 40;
    return narrow && plan_.steps[a.span->step].node == plan_.steps[b.span->step].node &&
           a.span->outcome == b.span->outcome;
  }

  std::string Fill(const Span& span) const {
    switch (span.type) {
      case Span::Type::kRetried:
        return "url(#vain)";
      case Span::Type::kSaving:
        return "#ccd";
      case Span::Type::kCached:
        return "#4a4";
      case Span::Type::kComputing:
        break;
    }
    return NodeColor(plan_.steps[span.step].node);
  }

  std::string Title(const Bar& bar) const {
    const Span& span = *bar.span;
    if (bar.count > 1) {
      return span.type == Span::Type::kCached
                 ? fmt::format("{} results found", bar.count)
                 : fmt::format("{} steps of {}", bar.count, plan_.node_name(span.step));
    }
    std::string title = plan_.steps[span.step].name;
    if (span.type == Span::Type::kSaving) title = "saving " + title;
    if (span.type == Span::Type::kCached) return title + " found";
    title += fmt::format(": {}", DurationText(span.end_s - span.begin_s));
    if (span.outcome != Outcome::kOk) title += fmt::format(", {}", OutcomeName(span.outcome));
    return span.note.empty() ? title : title + "\n" + Shortened(span.note, 200);
  }

  void Draw(const Bar& bar) {
    const Span& span = *bar.span;
    const char* frame = "";
    if (span.type == Span::Type::kComputing) {
      if (span.outcome == Outcome::kFailed) {
        frame = R"( stroke="#c00" stroke-width="2")";
      } else if (bar.count == 1 && critical_.contains(span.step)) {
        frame = R"( stroke="#223" stroke-width="1.5")";
      }
    }
    const double width = bar.end - bar.x;
    fmt::format_to(std::back_inserter(body_),
                   R"(<rect x="{:.1f}" y="{:.0f}" width="{:.1f}" height="{:.0f}" fill="{}"{}>)"
                   R"(<title>{}</title></rect>)",
                   bar.x, Y(span.row), width, kBarHeight, Fill(span), frame, XmlText(Title(bar)));
    const auto letters = static_cast<size_t>((width - 4) / kLetter);
    if (bar.count > 1 || span.type != Span::Type::kComputing || width < 30) return;
    Text(bar.x + 3, Y(span.row) + 14, XmlText(Shortened(Label(span.step, letters), letters)), "l");
  }

  /// The whole name of a step, or only its values where there is no room.
  std::string Label(StepId step, size_t letters) const {
    const std::string& name = plan_.steps[step].name;
    const size_t open = name.find('[');
    if (name.size() <= letters || open == std::string::npos) return name;
    std::string values;
    for (size_t at = open; at < name.size();) {
      const size_t equals = name.find('=', at);
      if (equals == std::string::npos) break;
      const size_t end = name.find_first_of(",]", equals);
      if (!values.empty()) values += ' ';
      values += name.substr(equals + 1, end - equals - 1);
      at = end;
    }
    return values;
  }

  /// A line from each step of the critical path to the next.
  void Path() {
    std::map<StepId, const Span*> spans;
    for (const Span& span : timeline_.spans) {
      if (span.type == Span::Type::kComputing) spans[span.step] = &span;
    }
    for (size_t i = 1; i < path_.size(); ++i) {
      const auto from = spans.find(path_[i - 1]), to = spans.find(path_[i]);
      if (from == spans.end() || to == spans.end()) continue;
      fmt::format_to(std::back_inserter(body_),
                     R"(<path d="M{:.1f} {:.0f}L{:.1f} {:.0f}" stroke="#223" fill="none"/>)",
                     X(from->second->end_s), Y(from->second->row) + kBarHeight / 2,
                     X(to->second->begin_s), Y(to->second->row) + kBarHeight / 2);
    }
  }

  /// What each colour means. Sets legend_end_.
  std::string Legend(double y) {
    std::string legend;
    double x = kNames;
    const auto entry = [&](const std::string& fill, const std::string& extra,
                           const std::string& text) {
      const double width = 24 + kLetter * static_cast<double>(text.size());
      if (x + width > kWidth) {
        x = kNames;
        y += kLegendRow;
      }
      fmt::format_to(std::back_inserter(legend),
                     R"(<rect x="{:.0f}" y="{:.0f}" width="12" height="12" fill="{}"{}/>)"
                     R"(<text x="{:.0f}" y="{:.0f}">{}</text>)",
                     x, y, fill, extra, x + 16, y + 10, XmlText(text));
      x += width + 8;
    };
    for (const uint32_t node : used_) entry(NodeColor(node), "", plan_.nodes[node].name);
    if (!path_.empty()) entry("#fff", R"( stroke="#223" stroke-width="1.5")", "critical path");
    legend_end_ = y + kLegendRow + 4;
    return legend;
  }

  const Plan& plan_;
  const Timeline& timeline_;
  const std::vector<StepId>& path_;
  const std::set<StepId> critical_;
  std::set<uint32_t> used_;  // nodes that computed
  double scale_ = 1;
  double legend_end_ = 0;
  std::string body_;
};

}  // namespace

std::string TimelineSvg(const Plan& plan, const Timeline& timeline,
                        const std::vector<StepId>& critical_path) {
  return Drawing(plan, timeline, critical_path).Draw();
}

}  // namespace puzzle
