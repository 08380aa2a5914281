#include "graph/run/step_context.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "graph/plan/key.h"
#include "graph/store/save_points.h"
#include "io/error.h"
#include "io/quantity.h"

namespace puzzle {
namespace {

constexpr double kProgressInterval_s = 0.1;
constexpr double kSaveShare = 0.05;                 // of the time, for save points at most
constexpr double kAfterFailure = 10;                // times the usual pause: the disk may be full
constexpr std::string_view kElapsed = "elapsed_s";  // attribute of a save point

/// What the attempts before a save point took; 0 where it does not say.
double ElapsedOf(const ArchiveReader& saved) {
  if (!saved.HasAttribute(kElapsed)) return 0;
  const nlohmann::json elapsed = saved.Attribute(kElapsed);
  const double seconds = elapsed.is_number() ? elapsed.get<double>() : 0;
  return std::isfinite(seconds) && seconds > 0 ? seconds : 0;
}

}  // namespace

StepContext::StepContext(RunScope& run, StepId id, Lane& lane, Flight& flight)
    : run_(run),
      id_(id),
      lane_(lane),
      flight_(flight),
      begin_s_(run.announcer.Now()),
      announced_s_(begin_s_),
      next_save_s_(begin_s_ + run.options.save_point_s) {
  flight_.curves = {};
}

std::vector<Device> StepContext::devices() const {
  std::vector<Device> devices;
  for (const Lane* member : lane_.team()) devices.push_back(member->device());
  return devices;
}

uint64_t StepContext::seed() const {
  return SeedOf(run_.plan, id_);
}

void StepContext::Poll(double fraction, std::string_view note) {
  if (run_.options.stop.stop_requested()) throw Cancelled();
  lane_.Adapt();
  const double now = run_.announcer.Now();
  const double timeout_s = run_.plan.node(id_).timeout_s;
  if (timeout_s > 0 && now - begin_s_ > timeout_s) {
    throw Error(fmt::format("stopped after {}: the node's timeout is {}s",
                            DurationText(now - begin_s_), timeout_s));
  }
  flight_.curves.Add(fraction, note);
  if (resumes_ && fraction > 0) {
    begun_ = std::min(fraction, 1.0);
    resumes_ = false;
  }
  if (now - announced_s_ < kProgressInterval_s) return;
  announced_s_ = now;
  if (flight_.memory) flight_.memory->Sample();
  RunEvent event = StepEvent(RunEvent::Type::kProgress, id_);
  event.fraction = std::clamp(fraction, 0.0, 1.0);
  event.begun = begun_;
  event.note = note;
  run_.announcer.Emit(event);
}

void StepContext::Warn(const std::string& message) {
  flight_.warnings.push_back(message);
  run_.announcer.Warn(id_, message);
}

std::shared_ptr<const ArchiveReader> StepContext::LastSavePoint() {
  const bool anew = flight_.replace || run_.forecast.steps[id_].forced;
  if (anew && !flight_.has_save_point) return nullptr;  // else this run has kept it
  auto found = run_.store.save_points().Find(flight_.key);
  if (found != nullptr && !flight_.has_save_point) flight_.earlier_s = ElapsedOf(*found);
  flight_.has_save_point = flight_.has_save_point || found != nullptr;
  resumes_ = found != nullptr;
  return found;
}

void StepContext::KeepSavePoint(const std::function<void(ArchiveWriter&)>& save) {
  const double begin_s = run_.announcer.Now();
  if (begin_s < next_save_s_) return;
  try {
    auto draft = run_.store.Begin();
    draft->writer().SetAttribute(kElapsed, flight_.earlier_s + begin_s - begin_s_);
    save(draft->writer());
    draft->Close();
    run_.store.save_points().Put(flight_.key, *draft);
    flight_.has_save_point = true;
    PauseSaving(begin_s, run_.options.save_point_s);
  } catch (const std::exception& error) {
    PauseSaving(begin_s, kAfterFailure * run_.options.save_point_s);
    if (!std::exchange(warned_of_saving_, true))
      Warn(fmt::format("a save point could not be written, another is tried later: {}",
                       error.what()));
  }
}

/// After an attempt that began at `begin_s`.
void StepContext::PauseSaving(double begin_s, double least_s) {
  const double end_s = run_.announcer.Now();
  next_save_s_ = least_s == 0 ? 0 : end_s + std::max(least_s, (end_s - begin_s) / kSaveShare);
}

uint64_t StepContext::resident_bytes() const {
  return run_.options.resident_bytes;
}

uint64_t StepContext::memory_bytes() const {
  return lane_.device().type == "cpu" ? run_.options.memory_bytes : UINT64_MAX;
}

std::string StepContext::ScratchPath() {
  return run_.store.TemporaryPath();
}

std::shared_ptr<const void> StepContext::ResidentAny(const std::string& key,
                                                     const std::function<SizedValue()>& make) {
  return run_.caches.Of(lane_.device()).Get("derived " + key, make);
}

}  // namespace puzzle
