#include "graph/run/step_runner.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "graph/run/demand.h"
#include "graph/run/step_attempts.h"
#include "graph/run/step_failure.h"
#include "graph/run/step_record.h"
#include "graph/store/save_points.h"
#include "io/error.h"

namespace puzzle {
namespace {

using nlohmann::json;

constexpr double kSyncAfter_s = 1.0;  // losing more than this to a power cut would hurt

double Mib(uint64_t bytes) {
  return static_cast<double>(bytes) / 1048576.0;
}

bool Usable(Outcome outcome) {
  return outcome == Outcome::kOk || outcome == Outcome::kCached;
}

}  // namespace

StepRunner::StepRunner(const Plan& plan, const Forecast& forecast, Store& store, Observer* observer,
                       const ExecuteOptions& options)
    : run_(plan, forecast, store, observer, options),
      host_(HostName()),
      flights_(plan.steps.size()) {}

void StepRunner::Start(size_t lanes) {
  RunEvent event;
  event.lanes = lanes;
  run_.announcer.Emit(event);
  bool accepts = false;
  StepKeys found;
  for (StepId id = 0; id < run_.plan.steps.size(); ++id) {
    const StepForecast& step = run_.forecast.steps[id];
    if (!step.warning.empty()) Warn(step.warning);
    if (step.fate != Fate::kHit) continue;
    run_.results[id] = {Outcome::kCached, step.record, {}, 0};
    accepts = accepts || step.accepts;
    if (!step.accepts) found.emplace_back(run_.plan.steps[id].name, step.key);
  }
  run_.store.RememberAll(found);
  if (!accepts) return;
  for (const StepId id : run_.plan.order) {  // inputs first: records name the keys of theirs
    const StepForecast& step = run_.forecast.steps[id];
    if (step.accepts && Adopt(id, step.record, step.reason)) {
      run_.store.Remember(run_.plan.steps[id].name, step.key);
    }
  }
}

Report StepRunner::TakeReport() {
  Report report;
  for (const std::string& complaint : run_.store.TakeComplaints()) Warn(complaint);
  report.steps = std::move(run_.results);
  report.warnings = run_.announcer.Warnings();
  SumUp(run_.plan, report);
  report.wall_s = run_.announcer.Now();
  report.interrupted = run_.options.stop.stop_requested() && report.Count(Outcome::kCancelled) > 0;
  RunEvent event;
  event.type = RunEvent::Type::kRunDone;
  event.report = &report;
  run_.announcer.Emit(event);
  return report;
}

// ---------------------------------------------------------------------------------------------
// Recipes and earlier results

std::string StepRunner::Recipe(StepId id) const {
  return RecipeText(run_.plan, id, CollectDigests(run_.plan.steps[id], [&](StepId input) {
                      return run_.results[input].record.digest;
                    }));
}

RecordDraft StepRunner::Described(StepId id, const std::string& recipe) const {
  RecordDraft record = DescribeStep(run_.plan, id, recipe,
                                    [&](StepId input) { return run_.results[input].record.key; });
  record.command = run_.options.command;
  return record;
}

bool StepRunner::Adopt(StepId id, const Record& earlier, const std::string& change) {
  try {
    run_.results[id] = {Outcome::kCached,
                        AdoptResult(run_.store, earlier, Described(id, Recipe(id)), change),
                        {},
                        0};
    return true;
  } catch (const std::exception& error) {
    run_.announcer.Warn(
        id, fmt::format("its earlier result could not be stored again: {}", error.what()));
    return false;
  }
}

bool StepRunner::AcceptEarlier(StepId id, const HitTest& test, const std::string& recipe) {
  if (!run_.forecast.steps[id].accept || test.presence != Presence::kAbsent) return false;
  const std::optional<Record> earlier = FindAcceptable(run_.plan, id, run_.store);
  return earlier && Adopt(id, *earlier, ExplainMiss(run_.plan, id, recipe, run_.store));
}

// ---------------------------------------------------------------------------------------------
// One step

void StepRunner::Settle(StepId id, StepResult result) {
  StepResult& slot = run_.results[id];
  slot = std::move(result);
  if (slot.outcome == Outcome::kFailed) run_.failed.store(true);
  if (Usable(slot.outcome)) run_.store.Remember(run_.plan.steps[id].name, slot.record.key);
  RunEvent event = StepEvent(RunEvent::Type::kStepDone, id);
  event.outcome = slot.outcome;
  event.wall_s = slot.wall_s;
  event.memory_bytes = slot.memory_bytes;
  if (Usable(slot.outcome)) event.key = slot.record.key;
  event.message = slot.message;
  run_.announcer.Emit(event);
}

void StepRunner::SettleFailure(StepId id, double wall_s) {
  const std::exception_ptr failure = std::current_exception();
  if (IsCancelled(failure) && run_.Stopping()) {
    Settle(id, {Outcome::kCancelled, {}, {}, 0});
  } else {
    Settle(id, {Outcome::kFailed, {}, MessageOf(failure), wall_s});
  }
}

StepRunner::Next StepRunner::Prepare(StepId id) {
  for (const StepId input : run_.plan.predecessors(id)) {
    const Outcome outcome = run_.results[input].outcome;
    if (outcome == Outcome::kFailed || outcome == Outcome::kSkipped) {
      Settle(id, {Outcome::kSkipped, {}, "input " + run_.plan.steps[input].name + " failed", 0});
      return Next::kDone;
    }
  }
  for (const StepId input : run_.plan.predecessors(id)) {
    if (!Usable(run_.results[input].outcome)) {
      Settle(id, {Outcome::kCancelled, {}, {}, 0});
      return Next::kDone;
    }
  }
  try {
    std::unique_ptr<Flight>& flight = flights_[id];
    if (!flight) flight = std::make_unique<Flight>();  // else it waited for another run
    const Next next = CloseKey(id, *flight);
    if (next == Next::kDone) flight.reset();
    return next;
  } catch (...) {
    SettleFailure(id, 0);
    return Next::kDone;
  }
}

StepRunner::Next StepRunner::CloseKey(StepId id, Flight& flight) {
  flight.recipe = Recipe(id);
  flight.key = KeyOf(flight.recipe);
  HitTest test = TestHit(run_.plan, id, flight.key, run_.store);
  const StepForecast& forecast = run_.forecast.steps[id];
  if (test.hit && !forecast.forced) {
    Settle(id, {Outcome::kCached, test.record, {}, 0});
    return Next::kDone;
  }
  if (run_.Stopping()) {
    Settle(id, {Outcome::kCancelled, {}, {}, 0});
    return Next::kDone;
  }
  if (AcceptEarlier(id, test, flight.recipe)) {
    Settle(id, {Outcome::kCached, run_.results[id].record, {}, 0});
    return Next::kDone;
  }
  const NodeKind& kind = run_.plan.kind(id);
  PUZZLE_CHECK(kind.body.run != nullptr, "kind \"" + kind.name + "\" has no body in this program");
  flight.replace = test.outputs_lost || test.hit;
  if (!flight.waits_for.empty()) {
    // Asked before: it waited for another run, which did not finish it.
  } else if (forecast.key_closed || forecast.forced) {
    flight.reason = forecast.reason;
  } else if (test.presence == Presence::kAbsent) {
    flight.reason = ExplainMiss(run_.plan, id, flight.recipe, run_.store);
  } else {
    flight.reason = test.reason;
    if (!forecast.outside) run_.announcer.Warn(id, test.reason + ", computing it again");
  }
  if (forecast.outside) {  // a selected step that it waited for has another result now
    throw Error(fmt::format("would have to run ({}), but is not selected", flight.reason));
  }
  return kind.needs == Needs::kHost ? Next::kHost : Next::kDevice;
}

StepRunner::Verdict StepRunner::Compute(StepId id, Lane& lane) {
  return ComputeStep(run_, id, lane, *flights_[id]);
}

bool StepRunner::Waits(StepId id) const {
  return !run_.Stopping() && run_.store.locks().IsClaimed(flights_[id]->key);
}

void StepRunner::RecallMemory() {
  recorded_bytes_ = RecordedPeaks(run_.plan, run_.forecast, run_.store);
}

Resources StepRunner::Demand(StepId id) {
  const uint64_t recorded = recorded_bytes_[run_.plan.steps[id].node];
  Resources demand{"", recorded, 0};
  try {
    demand =
        EstimateDemand(run_.plan, id, run_.forecast.steps[id], recorded,
                       [&](StepId input) -> const Record& { return run_.results[input].record; });
  } catch (const std::exception& error) {
    run_.announcer.Warn(id, fmt::format("what it occupies is unknown: {}", error.what()));
  }
  // No more is kept, and steps go through larger data piece by piece.
  demand.shared_bytes = std::min<uint64_t>(demand.shared_bytes, run_.options.resident_bytes);
  flights_[id]->demand_bytes = demand.memory_bytes;
  return demand;
}

uint64_t StepRunner::ResultBytes(StepId id) const {
  return flights_[id]->product.value.bytes;
}

std::vector<uint64_t> StepRunner::InputNumbers(StepId id) const {
  std::vector<uint64_t> numbers;
  for (const StepId input : run_.plan.predecessors(id)) {
    numbers.push_back(std::hash<std::string_view>()(run_.results[input].record.digest));
  }
  return numbers;
}

void StepRunner::Refuse(StepId id, const std::string& why) {
  const std::unique_ptr<Flight> flight = std::move(flights_[id]);
  if (run_.Stopping()) return Settle(id, {Outcome::kCancelled, {}, {}, 0});
  std::string message = why;
  if (!flight->warnings.empty()) message += "; before: " + flight->warnings.back();
  Settle(id, {Outcome::kFailed, {}, std::move(message), 0});
}

void StepRunner::Finish(StepId id) {
  const std::unique_ptr<Flight> flight = std::move(flights_[id]);
  try {
    if (flight->failure) std::rethrow_exception(flight->failure);
    if (flight->found) return Settle(id, {Outcome::kCached, *flight->found, {}, 0});
    const Record published = Save(id, *flight);
    Settle(id, {Outcome::kOk, published, {}, flight->wall_s, flight->memory_bytes});
  } catch (...) {
    SettleFailure(id, flight->wall_s);
  }
}

Record StepRunner::Save(StepId id, Flight& flight) {
  const double begin_s = run_.announcer.Now();
  run_.announcer.Emit(StepEvent(RunEvent::Type::kStepSaving, id));
  if (flight.product.save) flight.product.save(flight.draft->writer());
  flight.draft->Close();
  flight.product = {};
  if (flight.files) flight.files->Check();
  RecordDraft record = Describe(id, flight);
  record.save_s = run_.announcer.Now() - begin_s;
  Store::PublishOptions options;
  options.sync = flight.earlier_s + flight.wall_s > kSyncAfter_s;
  options.replace = flight.replace;
  const Record published = run_.store.Publish(std::move(flight.draft), std::move(record), options);
  if (flight.has_save_point || run_.forecast.steps[id].forced)
    run_.store.save_points().Drop(flight.key);
  return published;
}

RecordDraft StepRunner::Describe(StepId id, const Flight& flight) const {
  RecordDraft record = Described(id, flight.recipe);
  record.scalars_json = flight.draft->scalars_json();
  record.display = flight.draft->display();
  const bool fills_folders = !run_.plan.steps[id].params.output_paths.empty();
  if (fills_folders) record.output_files_json = flight.draft->files_json();
  record.warnings_json = json(flight.warnings).dump(-1, ' ', false, json::error_handler_t::replace);
  record.curves_json = flight.curves.Json();
  record.wall_s = flight.earlier_s + flight.wall_s;
  record.cpu_s = flight.cpu_s;
  record.peak_rss_mib = Mib(PeakResidentBytes());
  record.memory_mib = Mib(flight.memory_bytes);
  record.host = host_;
  record.device = flight.lane;
  record.threads = flight.threads;
  record.tool = run_.options.tool;
  if (run_.plan.kind(id).needs != Needs::kHost && !run_.options.numerics.empty()) {
    record.environment_json =
        json(run_.options.numerics).dump(-1, ' ', false, json::error_handler_t::replace);
  }
  record.finished = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
  return record;
}

}  // namespace puzzle
