#include "graph/view/graph_svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "graph/view/svg.h"

namespace puzzle {
namespace {

constexpr double kBoxWidth = 150;
constexpr double kBoxHeight = 46;
constexpr double kGapX = 18;
constexpr double kGapY = 40;
constexpr int kSweeps = 6;

/// Layers of nodes: each below all it reads from, and near to the middle of them.
class Layout {
 public:
  explicit Layout(const Plan& plan) : before_(plan.nodes.size()), after_(plan.nodes.size()) {
    for (StepId id = 0; id < plan.steps.size(); ++id) {
      for (const StepId input : plan.predecessors(id)) {
        before_[plan.steps[id].node].insert(plan.steps[input].node);
      }
    }
    for (size_t n = 0; n < before_.size(); ++n) {
      for (const size_t input : before_[n]) after_[input].insert(n);
    }
    MakeLayers(plan);
    place_.resize(before_.size());
    Number();
    for (int sweep = 0; sweep < kSweeps; ++sweep) {
      for (auto& layer : layers_) Sort(layer, sweep % 2 == 0 ? before_ : after_);
      Number();
    }
  }

  const std::vector<std::vector<size_t>>& layers() const { return layers_; }
  const std::set<size_t>& before(size_t node) const { return before_[node]; }

 private:
  /// Steps come after their inputs in plan.order, hence nodes do when their steps are looked at in
  /// that order; a node that reads from itself through another one (by different steps) is left
  /// where it stood.
  void MakeLayers(const Plan& plan) {
    std::vector<size_t> layer(before_.size(), 0);
    for (const StepId id : plan.order) {
      const size_t node = plan.steps[id].node;
      for (const StepId input : plan.predecessors(id)) {
        const size_t other = plan.steps[input].node;
        if (other != node) layer[node] = std::max(layer[node], layer[other] + 1);
      }
    }
    for (size_t n = 0; n < layer.size(); ++n) {
      layer[n] = std::min(layer[n], before_.size());
      if (layers_.size() <= layer[n]) layers_.resize(layer[n] + 1);
      layers_[layer[n]].push_back(n);
    }
  }

  void Number() {
    for (const auto& layer : layers_) {
      for (size_t i = 0; i < layer.size(); ++i) {
        place_[layer[i]] = static_cast<double>(i) - static_cast<double>(layer.size() - 1) / 2;
      }
    }
  }

  void Sort(std::vector<size_t>& layer, const std::vector<std::set<size_t>>& neighbours) const {
    const auto middle = [&](size_t node) {
      const auto& others = neighbours[node];
      if (others.empty()) return place_[node];
      return std::accumulate(others.begin(), others.end(), 0.0,
                             [&](double sum, size_t other) { return sum + place_[other]; }) /
             static_cast<double>(others.size());
    };
    std::stable_sort(layer.begin(), layer.end(),
                     [&](size_t a, size_t b) { return middle(a) < middle(b); });
  }

  std::vector<std::set<size_t>> before_, after_;
  std::vector<std::vector<size_t>> layers_;
  std::vector<double> place_;  // within the layer, 0 in its middle
};

struct Counts {
  size_t ok = 0, cached = 0, failed = 0, rest = 0;
};

std::string BoxColor(const Counts& counts) {
  if (counts.failed > 0) return "#f7b5b5";
  if (counts.rest > 0) return "#eee";
  return counts.ok > 0 ? "#bcd7f5" : "#cfe8cf";
}

std::string CountText(const Counts& counts) {
  std::string text;
  const auto add = [&](size_t count, const char* what) {
    if (count > 0) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, what);
  };
  add(counts.ok, "run");
  add(counts.cached, "cached");
  add(counts.failed, "failed");
  add(counts.rest, "left out");
  return text.empty() ? "no steps" : text;
}

}  // namespace

std::string GraphSvg(const Plan& plan, const Report& report) {
  std::vector<Counts> counts(plan.nodes.size());
  for (StepId id = 0; id < plan.steps.size(); ++id) {
    Counts& node = counts[plan.steps[id].node];
    switch (report.steps[id].outcome) {
      case Outcome::kOk:
        ++node.ok;
        break;
      case Outcome::kCached:
        ++node.cached;
        break;
      case Outcome::kFailed:
        ++node.failed;
        break;
      default:
        ++node.rest;
    }
  }
  const Layout layout(plan);
  size_t widest = 1;
  for (const auto& layer : layout.layers()) widest = std::max(widest, layer.size());
  const double width = static_cast<double>(widest) * (kBoxWidth + kGapX) + kGapX;
  const double height = static_cast<double>(layout.layers().size()) * (kBoxHeight + kGapY);
  std::vector<std::pair<double, double>> corner(plan.nodes.size());
  for (size_t l = 0; l < layout.layers().size(); ++l) {
    const auto& layer = layout.layers()[l];
    const double used = static_cast<double>(layer.size()) * (kBoxWidth + kGapX) - kGapX;
    for (size_t i = 0; i < layer.size(); ++i) {
      corner[layer[i]] = {(width - used) / 2 + static_cast<double>(i) * (kBoxWidth + kGapX),
                          10 + static_cast<double>(l) * (kBoxHeight + kGapY)};
    }
  }
  std::string edges, boxes;
  for (size_t n = 0; n < plan.nodes.size(); ++n) {
    const auto [x, y] = corner[n];
    for (const size_t input : layout.before(n)) {
      const double from_x = corner[input].first + kBoxWidth / 2;
      const double from_y = corner[input].second + kBoxHeight;
      const double bend = (from_y + y) / 2;
      fmt::format_to(
          std::back_inserter(edges),
          R"(<path d="M{0:.0f} {1:.0f}C{0:.0f} {2:.0f} {3:.0f} {2:.0f} {3:.0f} {4:.0f}" )"
          R"(stroke="#aab" fill="none"/>)",
          from_x, from_y, bend, x + kBoxWidth / 2, y);
    }
    const PlanNode& node = plan.nodes[n];
    fmt::format_to(
        std::back_inserter(boxes),
        R"(<g><title>{}</title><rect x="{:.0f}" y="{:.0f}" width="{:.0f}" height="{:.0f}" rx="5" )"
        R"(fill="{}" stroke="#667"/>)"
        R"(<text x="{:.0f}" y="{:.0f}" font-weight="bold">{}</text>)"
        R"(<text x="{:.0f}" y="{:.0f}">{}</text><text x="{:.0f}" y="{:.0f}">{}</text></g>)",
        XmlText(node.doc.empty() ? node.kind->doc : node.doc), x, y, kBoxWidth, kBoxHeight,
        BoxColor(counts[n]), x + 6, y + 14, XmlText(Shortened(node.name, 22)), x + 6, y + 27,
        XmlText(Shortened(node.kind->name, 24)), x + 6, y + 40, CountText(counts[n]));
  }
  return fmt::format(R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0:.0f} {1:.0f}" )"
                     R"(width="{0:.0f}" height="{1:.0f}" font-family="sans-serif" font-size="11">)",
                     width, height) +
         edges + boxes + "</svg>";
}

}  // namespace puzzle
