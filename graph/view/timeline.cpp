#include "graph/view/timeline.h"

#include <algorithm>
#include <tuple>

namespace puzzle {
namespace {

constexpr const char* kHost = "host";  // the executor's name for threads without a device
constexpr const char* kSaving = "saving";
constexpr const char* kCached = "cached";

Timeline::Row::Type TypeOf(const std::string& lane) {
  if (lane == kHost) return Timeline::Row::Type::kHost;
  if (lane == kSaving) return Timeline::Row::Type::kSaving;
  return lane == kCached ? Timeline::Row::Type::kCached : Timeline::Row::Type::kLane;
}

}  // namespace

void TimelineRecorder::OnEvent(const RunEvent& event) {
  const std::scoped_lock lock(mutex_);
  now_s_ = event.time_s;
  const auto moment = [&](StepId step) {
    Span span{Span::Type::kCached, step, 0, now_s_, now_s_, Outcome::kCached, {}};
    closed_.push_back({std::move(span), kCached});
  };
  switch (event.type) {
    case RunEvent::Type::kRunStarted:
      for (StepId id = 0; id < event.plan->steps.size(); ++id) {
        if (event.forecast->steps[id].fate == Fate::kHit) moment(id);
      }
      break;
    case RunEvent::Type::kStepStarted: {
      Span span{Span::Type::kComputing,   event.step, 0, now_s_, now_s_, Outcome::kCancelled,
                std::string(event.reason)};
      open_[event.step] = {std::move(span), std::string(event.lane)};
      break;
    }
    case RunEvent::Type::kStepRetried:
      if (const auto it = open_.find(event.step); it != open_.end()) {
        it->second.span.note = event.message;
        Close(event.step, Span::Type::kRetried, now_s_);
      }
      break;
    case RunEvent::Type::kStepSaving: {
      Close(event.step, Span::Type::kComputing, now_s_);
      Span span{Span::Type::kSaving, event.step, 0, now_s_, now_s_, Outcome::kCancelled, {}};
      open_[event.step] = {std::move(span), kSaving};
      break;
    }
    case RunEvent::Type::kStepDone:
      outcomes_[event.step] = event.outcome;
      if (const auto it = open_.find(event.step); it != open_.end()) {
        if (event.outcome == Outcome::kFailed) it->second.span.note = event.message;
        Close(event.step, it->second.span.type, now_s_);
      } else if (event.outcome == Outcome::kCached) {
        moment(event.step);
      }
      break;
    case RunEvent::Type::kStepWaits:
    case RunEvent::Type::kProgress:
    case RunEvent::Type::kWarning:
    case RunEvent::Type::kRunDone:
      break;
  }
}

void TimelineRecorder::Close(StepId step, Span::Type type, double now) {
  const auto it = open_.find(step);
  if (it == open_.end()) return;
  it->second.span.type = type;
  it->second.span.end_s = now;
  closed_.push_back(std::move(it->second));
  open_.erase(it);
}

Timeline TimelineRecorder::Take() const {
  const std::scoped_lock lock(mutex_);
  std::vector<Open> all = closed_;
  for (const auto& [step, open] : open_) all.emplace_back(open).span.end_s = now_s_;
  std::stable_sort(all.begin(), all.end(), [](const Open& a, const Open& b) {
    const auto type_a = TypeOf(a.lane), type_b = TypeOf(b.lane);
    return std::tie(type_a, a.lane, a.span.begin_s) < std::tie(type_b, b.lane, b.span.begin_s);
  });
  Timeline timeline;
  timeline.end_s = now_s_;
  size_t first = 0;  // the first row of the lane at hand
  std::vector<double> free_at;
  std::string lane;
  for (Open& open : all) {
    if (timeline.rows.empty() || open.lane != lane) {
      lane = open.lane;
      first = timeline.rows.size();
      free_at.clear();
    }
    // Into the first row of this name that is free.
    size_t row = 0;
    while (row < free_at.size() && free_at[row] > open.span.begin_s) ++row;
    if (row == free_at.size()) {
      free_at.push_back(0);
      timeline.rows.push_back(
          {TypeOf(lane), row == 0 ? lane : lane + ' ' + std::to_string(row + 1)});
    }
    free_at[row] = open.span.end_s;
    open.span.row = static_cast<uint32_t>(first + row);
    if (const auto it = outcomes_.find(open.span.step); it != outcomes_.end()) {
      open.span.outcome = it->second;
    }
    timeline.spans.push_back(std::move(open.span));
  }
  std::stable_sort(timeline.spans.begin(), timeline.spans.end(),
                   [](const Span& a, const Span& b) { return a.row < b.row; });
  return timeline;
}

}  // namespace puzzle
