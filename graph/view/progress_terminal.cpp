#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>

#include "graph/run/report.h"
#include "graph/view/eta.h"
#include "graph/view/progress.h"
#include "io/printable.h"
#include "io/quantity.h"

namespace puzzle {
namespace {

constexpr double kRedraw_s = 0.1;
constexpr double kRecount_s = 1;  // the whole graph is walked for it
constexpr size_t kMaxLines = 24;
constexpr size_t kBar = 16;

/// A step that runs now.
struct Running {
  double since_s = 0;
  double fraction = 0;
  std::string note;
};

/// Characters on the screen, taking every UTF-8 sequence for one.
std::string CutTo(const std::string& text, size_t columns) {
  size_t used = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0) == 0x80) continue;
    if (used++ == columns) return text.substr(0, i);
  }
  return text;
}

class TerminalView final : public ProgressView {
 public:
  explicit TerminalView(ProgressOptions options) : options_(std::move(options)) {}

  void OnEvent(const RunEvent& event) override {
    const std::scoped_lock lock(mutex_);
    const double now = options_.clock();
    if (eta_) eta_->OnEvent(event, now);
    switch (event.type) {
      case RunEvent::Type::kRunStarted:
        Begin(event);
        break;
      case RunEvent::Type::kStepWaits:
        nodes_[plan_->steps[event.step].node].waiting.insert_or_assign(event.step, event.message);
        break;
      case RunEvent::Type::kStepStarted: {
        Node& node = nodes_[plan_->steps[event.step].node];
        node.waiting.erase(event.step);
        node.running[event.step] = {now, 0, {}};
        break;
      }
      case RunEvent::Type::kProgress: {
        auto& running = nodes_[plan_->steps[event.step].node].running;
        if (auto it = running.find(event.step); it != running.end()) {
          it->second.fraction = event.fraction;
          it->second.note = event.note;
        }
        break;
      }
      case RunEvent::Type::kStepRetried:
        nodes_[plan_->steps[event.step].node].running.erase(event.step);
        Above(fmt::format("again: {} {} ({})", plan_->steps[event.step].name, event.reason,
                          event.message));
        break;
      case RunEvent::Type::kStepSaving:
        break;
      case RunEvent::Type::kStepDone:
        Done(event);
        break;
      case RunEvent::Type::kWarning:
        Above(fmt::format("warning: {}{}",
                          event.has_step ? plan_->steps[event.step].name + ": " : "",
                          event.message));
        break;
      case RunEvent::Type::kRunDone:
        if (plan_ != nullptr && todo_) Draw(now, /*last=*/true);
        plan_ = nullptr;
        return;
    }
    if (now - drawn_s_ >= kRedraw_s) Draw(now);
  }

  void Tick() override {
    const std::scoped_lock lock(mutex_);
    const double now = options_.clock();
    if (plan_ != nullptr && now - drawn_s_ >= kRedraw_s) Draw(now);
  }

 private:
  struct Node {
    size_t done = 0, cached = 0, failed = 0, skipped = 0;
    std::map<StepId, Running> running;
    std::map<StepId, std::string> waiting;  // for another run: whose
  };

  void Begin(const RunEvent& event) {
    plan_ = event.plan;
    forecast_ = event.forecast;
    todo_ = forecast_->hits < plan_->steps.size();
    eta_.emplace(*plan_, *forecast_, event.lanes);
    nodes_.assign(plan_->nodes.size(), {});
    for (StepId id = 0; id < plan_->steps.size(); ++id) {
      Node& node = nodes_[plan_->steps[id].node];
      const StepForecast& step = forecast_->steps[id];
      if (step.fate == Fate::kHit) {
        ++node.done;
        ++node.cached;
      }
    }
    name_width_ = 5;
    for (const PlanNode& node : plan_->nodes) {
      name_width_ = std::min<size_t>(20, std::max(name_width_, node.name.size()));
    }
  }

  void Done(const RunEvent& event) {
    Node& node = nodes_[plan_->steps[event.step].node];
    node.running.erase(event.step);
    node.waiting.erase(event.step);
    ++node.done;
    if (event.outcome == Outcome::kCached) ++node.cached;
    if (event.outcome == Outcome::kSkipped) ++node.skipped;
    if (event.outcome == Outcome::kFailed) {
      ++node.failed;
      Above(fmt::format("failed: {}: {}", plan_->steps[event.step].name, event.message));
    }
  }

  /// A line that stays, above the lines that are rewritten.
  void Above(const std::string& text) {
    options_.write(Erase() + Printable(text) + '\n');
    drawn_lines_ = 0;
    drawn_s_ = -1;
  }

  std::string Erase() const {
    return drawn_lines_ == 0 ? "" : fmt::format("\x1b[{}A\x1b[J", drawn_lines_);
  }

  /// Lines that can be rewritten: what scrolled out of the window stays there for ever. The last
  /// ones may scroll.
  size_t MaxLines(bool last) const {
    const auto rows = static_cast<size_t>(std::max(options_.height(), 3));
    return last ? kMaxLines : std::min(kMaxLines, rows - 2);
  }

  void Draw(double now, bool last = false) {
    drawn_s_ = now;
    if (!todo_) return;
    const auto width = static_cast<size_t>(std::max(options_.width() - 1, 20));
    std::string text = Erase();
    drawn_lines_ = 0;
    // With more nodes than lines, those that are finished or have not begun are left out.
    const size_t max_lines = MaxLines(last);
    const bool all = nodes_.size() <= max_lines;
    for (size_t n = 0; n < nodes_.size() && drawn_lines_ < max_lines; ++n) {
      if (!all && nodes_[n].running.empty()) continue;
      text += CutTo(PrintableLine(NodeLine(n, now)), width) + '\n';
      ++drawn_lines_;
    }
    if (nodes_.size() > 1) {
      text += CutTo(TotalLine(now), width) + '\n';
      ++drawn_lines_;
    }
    options_.write(text);
  }

  std::string Bar(std::string_view name, size_t done, size_t count) const {
    size_t filled = done == count ? kBar : (kBar * done + count / 2) / count;
    if (done < count) filled = std::min(filled, kBar - 1);  // full means done
    return fmt::format("{:<{}}  [{}{}]  {}/{}", name, name_width_, std::string(filled, '#'),
                       std::string(kBar - filled, '-'), done, count);
  }

  static std::string EtaText(double eta_s) {
    return eta_s >= 1 ? "  eta " + DurationText(eta_s) : "";
  }

  std::string TotalLine(double now) {
    size_t done = 0, running = 0;
    for (const Node& node : nodes_) {
      done += node.done;
      running += node.running.size();
    }
    if (now - total_s_ >= kRecount_s || total_s_ < 0) {
      total_s_ = now;
      total_eta_s_ = eta_->Total(now);
    }
    std::string line = Bar("total", done, plan_->steps.size());
    return running > 0 ? line + EtaText(total_eta_s_) : line;
  }

  std::string NodeLine(size_t n, double now) const {
    const Node& node = nodes_[n];
    std::string line = Bar(plan_->nodes[n].name, node.done, plan_->nodes[n].count);
    if (node.cached > 0) line += fmt::format("  cached {}", node.cached);
    if (node.failed > 0) line += fmt::format("  failed {}", node.failed);
    if (node.skipped > 0) line += fmt::format("  skipped {}", node.skipped);
    if (!node.waiting.empty()) {
      line += fmt::format("  {} computed by {}", node.waiting.size(), node.waiting.begin()->second);
    }
    if (node.running.empty()) return line;
    line += fmt::format("  running {}", node.running.size()) + EtaText(eta_->Node(n, now));
    const auto longest = std::min_element(
        node.running.begin(), node.running.end(),
        [](const auto& a, const auto& b) { return a.second.since_s < b.second.since_s; });
    const Running& step = longest->second;
    line += fmt::format("   ({} {}", plan_->steps[longest->first].name,
                        DurationText(now - step.since_s));
    if (!step.note.empty()) {
      line += ", " + step.note;
    } else if (step.fraction > 0) {
      line += fmt::format(", {:.0f}%", step.fraction * 100);
    }
    return line + ")";
  }

  ProgressOptions options_;
  std::mutex mutex_;
  const Plan* plan_ = nullptr;
  const Forecast* forecast_ = nullptr;
  std::optional<Eta> eta_;
  double total_s_ = -1;  // when the whole was estimated last
  double total_eta_s_ = 0;
  std::vector<Node> nodes_;
  bool todo_ = false;
  size_t name_width_ = 4;
  size_t drawn_lines_ = 0;
  double drawn_s_ = -1;
};

}  // namespace

std::unique_ptr<ProgressView> MakeTerminalView(ProgressOptions options) {
  return std::make_unique<TerminalView>(std::move(options));
}

}  // namespace puzzle
