#include "graph/run/step_attempts.h"

#include <fmt/format.h>
#include <time.h>

#include <optional>

#include "graph/run/step_context.h"
#include "graph/run/step_failure.h"
#include "graph/run/step_inputs.h"
#include "io/error.h"

namespace puzzle {
namespace {

using Verdict = StepWork::Verdict;

double ThreadSeconds() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

bool OnHost(const RunScope& run, StepId id) {
  return run.plan.kind(id).needs == Needs::kHost;
}

/// False when another run computes the same. What that run made before counts as found: the hit
/// test is repeated once the claim keeps others from publishing.
bool TakeClaim(RunScope& run, StepId id, Flight& flight) {
  if (flight.claim) return true;  // it begins anew
  StoreLocks::Attempt attempt = run.store.locks().TryClaim(flight.key);
  if (!attempt.claim) {
    if (flight.waits_for != attempt.holder) {
      flight.waits_for = attempt.holder;
      RunEvent event = StepEvent(RunEvent::Type::kStepWaits, id);
      event.message = attempt.holder;
      run.announcer.Emit(event);
    }
    return false;
  }
  flight.claim = std::move(attempt.claim);
  if (!flight.waits_for.empty()) (void)run.store.FindAfterWait(flight.key);
  const HitTest test = TestHit(run.plan, id, flight.key, run.store);
  if (test.hit && !flight.replace) flight.found = test.record;
  return true;
}

/// Calls the body once. The verdict, when there is nothing to compute here.
std::optional<Verdict> Attempt(RunScope& run, StepId id, Lane& lane, Flight& flight) {
  flight.failure = nullptr;
  try {
    if (run.Stopping()) throw Cancelled();  // it waited in the queue meanwhile
    flight.draft = run.store.Begin();       // without what a failed attempt wrote
    if (!TakeClaim(run, id, flight)) return Verdict::kWait;
    if (flight.found) return Verdict::kFinish;
    RunEvent event = StepEvent(RunEvent::Type::kStepStarted, id);
    event.lane = lane.name();
    event.reason = flight.reason;
    run.announcer.Emit(event);
    lane.Adapt();
    if (!OnHost(run, id)) flight.memory.emplace(run.allocated, run.pages);
    flight.files.emplace(run.plan.steps[id].params.inputs);
    StepContext context(run, id, lane, flight);
    const StepInputs inputs(run, id);
    flight.product = run.plan.kind(id).body.run(run.plan.steps[id].params.value.get(), inputs,
                                                context, flight.draft->writer());
  } catch (...) {
    flight.failure = std::current_exception();
  }
  return std::nullopt;
}

void AnnounceRetry(RunScope& run, StepId id, const std::string& message, const std::string& how) {
  RunEvent event = StepEvent(RunEvent::Type::kStepRetried, id);
  event.message = message;
  event.reason = how;
  run.announcer.Emit(event);
}

/// The device of a lane is of no use any more: said once, whatever else fails on it.
void GiveUpDevice(RunScope& run, StepId id, Lane& lane, const std::string& message) {
  lane.Retire();
  if (!run.lost.Add(lane.device())) return;
  run.announcer.Warn(std::nullopt,
                     fmt::format("{} on {} is lost, found by {}: {}", lane.device().name(),
                                 HostName(), run.plan.steps[id].name, message));
}

/// Whether a lane of the team is of a device that another one found to be lost.
bool RetireLost(const RunScope& run, Lane& lane) {
  bool found = false;
  for (Lane* member : lane.team()) {
    if (!run.lost.Contains(member->device())) continue;
    member->Retire();
    found = true;
  }
  return found;
}

/// Decides whether a step that failed on a lane gets another chance, once for each cause.
Verdict Judge(RunScope& run, StepId id, Lane& lane, Flight& flight) {
  const FailureKind kind = Classify(flight.failure, run.options);
  if (kind == FailureKind::kOrdinary) return Verdict::kFinish;
  const bool alone = kind == FailureKind::kOutOfMemory;
  const std::string message = MessageOf(flight.failure);
  if (!alone) GiveUpDevice(run, id, lane.failed(), message);
  bool& tried = alone ? flight.tried_alone : flight.changed_lane;
  if (run.Stopping()) return Verdict::kFinish;
  if (tried) {
    if (alone) {
      flight.failure = std::make_exception_ptr(Error(
          fmt::format("{}: {}, also with nothing else on it", lane.device().name(), message)));
    }
    return Verdict::kFinish;
  }
  tried = true;
  flight.failure = nullptr;
  flight.product = {};
  flight.draft.reset();
  if (alone) run.caches.Of(lane.device()).Clear();
  flight.warnings.push_back(message);
  AnnounceRetry(run, id, message, alone ? "alone on its device" : "on another lane");
  return alone ? Verdict::kTryAlone : Verdict::kTryAnotherLane;
}

}  // namespace

StepWork::Verdict ComputeStep(RunScope& run, StepId id, Lane& lane, Flight& flight) {
  const bool host = OnHost(run, id);
  if (!host && RetireLost(run, lane)) return Verdict::kTryAnotherLane;
  flight.lane = lane.device().name();
  std::optional<YieldedMemory> room;
  if (!host) {
    room.emplace(run.caches.Of(lane.device()), flight.demand_bytes);
    if (room->has_dropped() || flight.demand_bytes > run.options.memory_bytes / 4)
      ReturnFreeMemory();
  }
  const double begin_s = run.announcer.Now();
  const double cpu_begin_s = ThreadSeconds();
  const int attempts = 1 + run.plan.node(id).retries;
  for (int attempt = 1; attempt <= attempts; ++attempt) {
    if (const auto verdict = Attempt(run, id, lane, flight)) return *verdict;
    if (!flight.failure || run.Stopping() || attempt == attempts) break;
    // Judge decides about the other failures.
    if (!host && Classify(flight.failure, run.options) != FailureKind::kOrdinary) break;
    const std::string message = MessageOf(flight.failure);
    flight.warnings.push_back(fmt::format("attempt {} of {}: {}", attempt, attempts, message));
    AnnounceRetry(run, id, message, fmt::format("attempt {} of {}", attempt + 1, attempts));
  }
  flight.threads = lane.threads() * static_cast<int>(host ? 1 : lane.team().size());
  flight.wall_s = run.announcer.Now() - begin_s;
  flight.cpu_s = ThreadSeconds() - cpu_begin_s;
  if (flight.memory) {
    flight.memory_bytes = flight.memory->peak_bytes();
    flight.memory.reset();  // what comes is its neighbours'
  }
  room.reset();
  if (!flight.failure && flight.product.value.bytes > 0)
    flight.held.emplace(run.caches.Of({}), flight.product.value.bytes);
  return flight.failure && !host ? Judge(run, id, lane, flight) : Verdict::kFinish;
}

}  // namespace puzzle
