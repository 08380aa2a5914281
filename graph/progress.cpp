#include "graph/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "graph/report.h"

namespace puzzle {
namespace {

constexpr double kRedraw_s = 0.1;
constexpr size_t kMaxLines = 24;
constexpr size_t kBar = 16;

double RealClock() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// A step that runs now.
struct Running {
  double since_s = 0;
  double told_s = 0;  // when something was last said about it
  double fraction = 0;
  std::string note;
  std::string lane;
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

class PlainView final : public ProgressView {
 public:
  explicit PlainView(ProgressOptions options) : options_(std::move(options)) {
    if (!options_.clock) options_.clock = RealClock;
  }

  void OnEvent(const RunEvent& event) override {
    const std::scoped_lock lock(mutex_);
    const double now = options_.clock();
    if (event.plan != nullptr) plan_ = event.plan;
    switch (event.type) {
      case RunEvent::Type::kRunStarted:
        todo_ = event.forecast->runs + event.forecast->waits;
        if (todo_ > 0) {
          Line(fmt::format("{} of {} steps are in the store, {} to run or to decide",
                           event.forecast->hits, plan_->steps.size(), todo_));
        }
        break;
      case RunEvent::Type::kStepStarted:
        running_[event.step] = {now, now, 0, {}, std::string(event.lane)};
        Line(fmt::format("start   {} on {}{}", Name(event.step), event.lane,
                         event.reason.empty() ? "" : fmt::format("  ({})", event.reason)));
        break;
      case RunEvent::Type::kProgress:
        if (auto it = running_.find(event.step); it != running_.end()) {
          it->second.fraction = event.fraction;
          it->second.note = event.note;
        }
        break;
      case RunEvent::Type::kStepDone:
        running_.erase(event.step);
        ++done_;
        Done(event);
        break;
      case RunEvent::Type::kWarning:
        Line(fmt::format("warning {}{}", event.has_step ? Name(event.step) + ": " : "",
                         event.message));
        break;
      case RunEvent::Type::kRunDone:
        plan_ = nullptr;
        break;
    }
  }

  void Tick() override {
    const std::scoped_lock lock(mutex_);
    if (plan_ == nullptr) return;
    const double now = options_.clock();
    for (auto& [id, step] : running_) {
      if (now - step.told_s < options_.plain_interval_s) continue;
      step.told_s = now;
      std::string line = fmt::format("running {} {}", Name(id), DurationText(now - step.since_s));
      if (step.fraction > 0) line += fmt::format(", {:.0f}%", 100 * step.fraction);
      if (!step.note.empty()) line += ", " + step.note;
      Line(line);
    }
  }

 private:
  const std::string& Name(StepId id) const { return plan_->steps[id].name; }
  void Line(const std::string& text) { options_.write(text + '\n'); }
  void Done(const RunEvent& event) {
    const std::string count = fmt::format("  [{}/{}]", done_, todo_);
    switch (event.outcome) {
      case Outcome::kOk:
        Line(fmt::format("done    {} {}{}", Name(event.step), DurationText(event.wall_s), count));
        break;
      case Outcome::kCached:
        Line(fmt::format("cached  {}{}", Name(event.step), count));
        break;
      case Outcome::kFailed:
        Line(fmt::format("FAILED  {} after {}: {}", Name(event.step), DurationText(event.wall_s),
                         event.message));
        break;
      case Outcome::kSkipped:
        Line(fmt::format("skipped {}: {}", Name(event.step), event.message));
        break;
      case Outcome::kCancelled:
        break;
    }
  }

  ProgressOptions options_;
  std::mutex mutex_;
  const Plan* plan_ = nullptr;
  std::map<StepId, Running> running_;
  size_t todo_ = 0;
  size_t done_ = 0;
};

class TerminalView final : public ProgressView {
 public:
  explicit TerminalView(ProgressOptions options) : options_(std::move(options)) {
    if (!options_.clock) options_.clock = RealClock;
  }

  void OnEvent(const RunEvent& event) override {
    const std::scoped_lock lock(mutex_);
    const double now = options_.clock();
    switch (event.type) {
      case RunEvent::Type::kRunStarted:
        Begin(event);
        break;
      case RunEvent::Type::kStepStarted: {
        Node& node = nodes_[plan_->steps[event.step].node];
        node.running[event.step] = {now, now, 0, {}, {}};
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
      case RunEvent::Type::kStepDone:
        Done(event);
        break;
      case RunEvent::Type::kWarning:
        Above(fmt::format("warning: {}{}",
                          event.has_step ? plan_->steps[event.step].name + ": " : "",
                          event.message));
        break;
      case RunEvent::Type::kRunDone:
        if (plan_ != nullptr && todo_) Draw(now);
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
    double left_s = 0;  // expected seconds of steps not done
    std::map<StepId, Running> running;
  };

  void Begin(const RunEvent& event) {
    plan_ = event.plan;
    forecast_ = event.forecast;
    todo_ = forecast_->hits < plan_->steps.size();
    nodes_.assign(plan_->nodes.size(), {});
    for (StepId id = 0; id < plan_->steps.size(); ++id) {
      Node& node = nodes_[plan_->steps[id].node];
      const StepForecast& step = forecast_->steps[id];
      if (step.fate == Fate::kHit) {
        ++node.done;
        ++node.cached;
      } else {
        node.left_s += step.expected_s;
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
    node.left_s -= forecast_->steps[event.step].expected_s;
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
    options_.write(Erase() + text + '\n');
    drawn_lines_ = 0;
    drawn_s_ = -1;
  }

  std::string Erase() const {
    return drawn_lines_ == 0 ? "" : fmt::format("\x1b[{}A\x1b[J", drawn_lines_);
  }

  void Draw(double now) {
    drawn_s_ = now;
    if (!todo_) return;
    const auto width = static_cast<size_t>(std::max(options_.width() - 1, 20));
    std::string text = Erase();
    drawn_lines_ = 0;
    // With more nodes than lines, those that are finished or have not begun are left out.
    const bool all = nodes_.size() <= kMaxLines;
    for (size_t n = 0; n < nodes_.size() && drawn_lines_ < kMaxLines; ++n) {
      if (!all && nodes_[n].running.empty()) continue;
      text += CutTo(NodeLine(n, now), width) + '\n';
      ++drawn_lines_;
    }
    if (nodes_.size() > 1) {
      text += CutTo(TotalLine(now), width) + '\n';
      ++drawn_lines_;
    }
    options_.write(text);
  }

  std::string Bar(std::string_view name, size_t done, size_t count) const {
    const size_t filled = count == 0 ? kBar : kBar * done / count;
    return fmt::format("{:<{}}  [{}{}]  {}/{}", name, name_width_, std::string(filled, '#'),
                       std::string(kBar - filled, '-'), done, count);
  }

  std::string TotalLine(double now) const {
    size_t done = 0, running = 0;
    double left_s = 0;
    for (const Node& node : nodes_) {
      done += node.done;
      running += node.running.size();
      left_s += Left(node, now);
    }
    std::string line = Bar("total", done, plan_->steps.size());
    const double eta = left_s / static_cast<double>(std::max<size_t>(running, 1));
    if (running > 0 && eta >= 1) line += "  eta " + DurationText(eta);
    return line;
  }

  std::string NodeLine(size_t n, double now) const {
    const Node& node = nodes_[n];
    std::string line = Bar(plan_->nodes[n].name, node.done, plan_->nodes[n].count);
    if (node.cached > 0) line += fmt::format("  cached {}", node.cached);
    if (node.failed > 0) line += fmt::format("  failed {}", node.failed);
    if (node.skipped > 0) line += fmt::format("  skipped {}", node.skipped);
    if (node.running.empty()) return line;
    line += fmt::format("  running {}", node.running.size());
    const auto longest = std::min_element(
        node.running.begin(), node.running.end(),
        [](const auto& a, const auto& b) { return a.second.since_s < b.second.since_s; });
    const double eta = Left(node, now) / static_cast<double>(node.running.size());
    if (eta >= 1) line += "  eta " + DurationText(eta);
    line += fmt::format("   ({} {}", plan_->steps[longest->first].name,
                        DurationText(now - longest->second.since_s));
    if (longest->second.fraction > 0)
      line += fmt::format(", {:.0f}%", longest->second.fraction * 100);
    if (!longest->second.note.empty()) line += ", " + longest->second.note;
    return line + ")";
  }

  /// Seconds of work that are left, by past durations and by the progress of what runs.
  double Left(const Node& node, double now) const {
    double left = node.left_s;
    for (const auto& [id, step] : node.running) {
      const double expected = forecast_->steps[id].expected_s;
      const double spent = now - step.since_s;
      if (step.fraction > 0.02) {  // its own progress knows better than the past
        left += spent / step.fraction - spent - expected;
      } else {
        left -= std::min(spent, expected);
      }
    }
    return std::max(left, 0.0);
  }

  ProgressOptions options_;
  std::mutex mutex_;
  const Plan* plan_ = nullptr;
  const Forecast* forecast_ = nullptr;
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

std::unique_ptr<ProgressView> MakePlainView(ProgressOptions options) {
  return std::make_unique<PlainView>(std::move(options));
}

}  // namespace puzzle
