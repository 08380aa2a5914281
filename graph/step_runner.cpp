#include "graph/step_runner.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <new>
#include <nlohmann/json.hpp>
#include <optional>

#include "graph/memory_meter.h"
#include "graph/step_record.h"
#include "io/error.h"

namespace puzzle {
namespace {

using nlohmann::json;

constexpr double kProgressInterval_s = 0.1;
constexpr double kSyncAfter_s = 1.0;  // losing more than this to a power cut would hurt

double ThreadSeconds() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

double Mib(uint64_t bytes) {
  return static_cast<double>(bytes) / 1048576.0;
}

std::string MessageOf(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const BugError& error) {
    return std::string("internal error: ") + error.what();
  } catch (const std::bad_alloc&) {
    return "out of memory";
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "an exception of unknown type";
  }
}

bool IsCancelled(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const Cancelled&) {
    return true;
  } catch (...) {
    return false;
  }
}

bool Usable(Outcome outcome) {
  return outcome == Outcome::kOk || outcome == Outcome::kCached;
}

}  // namespace

/// What a step carries while it runs.
struct StepRunner::Flight {
  std::string key;
  std::string recipe;
  std::string reason;
  bool replace = false;  // a whole result of this key is there and must not count
  std::unique_ptr<Claim> claim;
  std::string waits_for;        // whom it waits for, or waited last
  std::optional<Record> found;  // what another run made meanwhile
  std::unique_ptr<ArtifactDraft> draft;
  Product product;
  std::exception_ptr failure;
  std::vector<std::string> warnings;
  std::string lane;
  int threads = 0;
  double wall_s = 0, cpu_s = 0;
  std::optional<MemoryMeter> memory;  // of steps on a lane
  uint64_t memory_bytes = 0;
  bool tried_alone = false;
  bool changed_lane = false;
};

/// A finished result at a port. What a consumer sees always comes from the archive, never straight
/// from the memory of the step that made it: rounding on the way to disk must not make a fresh run
/// differ from a resumed one.
class StepRunner::Handle final : public InputHandle {
 public:
  Handle(StepRunner& runner, const Record& record, const std::string& step)
      : runner_(runner), record_(record), step_(step), digest_(record.digest) {}

  std::string_view type() const override { return record_.type; }
  const std::string& digest() const override { return digest_; }
  std::shared_ptr<const void> LoadAny(
      const std::function<SizedValue(std::shared_ptr<const ArchiveReader>)>& load) const override {
    return runner_.CacheOf({}).Get(fmt::format("artifact {} {}", digest_, record_.type), [&] {
      try {
        return load(runner_.store_.Open(record_));
      } catch (const Cancelled&) {
        throw;
      } catch (const std::bad_alloc&) {
        throw;
      } catch (const std::exception& error) {
        std::string context = "cannot load the result of " + step_;
        if (runner_.store_.RemoveIfDamaged(record_)) {
          context += " (its file is damaged; the next run makes it again)";
        }
        throw WithContext(context, error);
      }
    });
  }

 private:
  StepRunner& runner_;
  const Record record_;
  const std::string& step_;
  const std::string digest_;
};

class StepRunner::PortInputs final : public Inputs {
 public:
  PortInputs(StepRunner& runner, StepId id) : ports_(runner.plan_.kind(id).ports) {
    const Step& step = runner.plan_.steps[id];
    for (const auto& inputs : step.inputs) {
      auto& handles = handles_.emplace_back();
      for (const StepId input : inputs) {
        handles.push_back(std::make_shared<Handle>(runner, runner.report_.steps[input].record,
                                                   runner.plan_.steps[input].name));
      }
      std::sort(handles.begin(), handles.end(),
                [](const auto& a, const auto& b) { return a->digest() < b->digest(); });
      handles.erase(
          std::unique(handles.begin(), handles.end(),
                      [](const auto& a, const auto& b) { return a->digest() == b->digest(); }),
          handles.end());
    }
  }

 protected:
  std::vector<std::shared_ptr<const InputHandle>> Handles(std::string_view port) const override {
    for (size_t p = 0; p < ports_.size(); ++p) {
      if (ports_[p].name == port) return handles_[p];
    }
    throw BugError(fmt::format("the kind has no port \"{}\"", port));
  }

 private:
  const std::vector<PortSpec>& ports_;
  std::vector<std::vector<std::shared_ptr<const InputHandle>>> handles_;
};

class StepRunner::Context final : public RunContext {
 public:
  Context(StepRunner& runner, StepId id, Lane& lane, Flight& flight)
      : runner_(runner),
        id_(id),
        lane_(lane),
        flight_(flight),
        begin_(runner.Now()),
        last_(begin_) {}

  const Device& device() const override { return lane_.device(); }
  uint64_t seed() const override { return SeedOf(runner_.plan_, id_); }
  void Poll(double fraction, std::string_view note) override {
    if (runner_.options_.stop.stop_requested()) throw Cancelled();
    lane_.Adapt();
    const double now = runner_.Now();
    const double timeout_s = runner_.plan_.node(id_).timeout_s;
    if (timeout_s > 0 && now - begin_ > timeout_s) {
      throw Error(fmt::format("stopped after {}: the node's timeout is {}s",
                              DurationText(now - begin_), timeout_s));
    }
    if (now - last_ < kProgressInterval_s) return;
    last_ = now;
    if (flight_.memory) flight_.memory->Sample();
    RunEvent event;
    event.type = RunEvent::Type::kProgress;
    event.has_step = true;
    event.step = id_;
    event.fraction = std::clamp(fraction, 0.0, 1.0);
    event.note = note;
    runner_.Emit(event);
  }
  void Warn(const std::string& message) override {
    flight_.warnings.push_back(message);
    runner_.Warn(&id_, message);
  }

 protected:
  std::shared_ptr<const void> ResidentAny(const std::string& key,
                                          const std::function<SizedValue()>& make) override {
    return runner_.CacheOf(lane_.device()).Get("derived " + key, make);
  }

 private:
  StepRunner& runner_;
  const StepId id_;
  Lane& lane_;
  Flight& flight_;
  const double begin_;
  double last_;
};

StepRunner::StepRunner(const Plan& plan, const Forecast& forecast, Store& store, Observer* observer,
                       const ExecuteOptions& options)
    : plan_(plan), forecast_(forecast), store_(store), observer_(observer), options_(options) {
  char name[256] = {};
  host_ = ::gethostname(name, sizeof name - 1) == 0 ? name : "unknown";
  report_.steps.resize(plan.steps.size());
  flights_.resize(plan.steps.size());
}

StepRunner::~StepRunner() = default;

double StepRunner::Now() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
}

bool StepRunner::Stopping() const {
  return options_.stop.stop_requested() || (failed_.load() && !options_.keep_going);
}

void StepRunner::Emit(RunEvent event) {
  if (observer_ == nullptr) return;
  event.plan = &plan_;
  event.forecast = &forecast_;
  const std::scoped_lock lock(events_);
  event.time_s = Now();
  observer_->OnEvent(event);
}

void StepRunner::Warn(const StepId* id, const std::string& message) {
  {
    const std::scoped_lock lock(events_);
    report_.warnings.push_back(id == nullptr ? message : plan_.steps[*id].name + ": " + message);
  }
  RunEvent event;
  event.type = RunEvent::Type::kWarning;
  event.has_step = id != nullptr;
  event.step = id == nullptr ? 0 : *id;
  event.message = message;
  Emit(event);
}

void StepRunner::Start(size_t lanes) {
  RunEvent event;
  event.lanes = lanes;
  Emit(event);
  bool accepts = false;
  for (StepId id = 0; id < plan_.steps.size(); ++id) {
    const StepForecast& step = forecast_.steps[id];
    if (!step.warning.empty()) Warn(nullptr, step.warning);
    if (step.fate != Fate::kHit) continue;
    report_.steps[id] = {Outcome::kCached, step.record, {}, 0};
    accepts = accepts || step.accepts;
    if (!step.accepts) store_.Remember(plan_.steps[id].name, step.key);
  }
  if (!accepts) return;
  for (const StepId id : plan_.order) {  // inputs first: records name the keys of theirs
    const StepForecast& step = forecast_.steps[id];
    if (step.accepts && Adopt(id, step.record, step.reason)) {
      store_.Remember(plan_.steps[id].name, step.key);
    }
  }
}

std::string StepRunner::Recipe(StepId id) const {
  return RecipeText(plan_, id, CollectDigests(plan_.steps[id], [&](StepId input) {
                      return report_.steps[input].record.digest;
                    }));
}

RecordDraft StepRunner::Described(StepId id, const std::string& recipe) const {
  RecordDraft record = DescribeStep(plan_, id, recipe,
                                    [&](StepId input) { return report_.steps[input].record.key; });
  record.command = options_.command;
  return record;
}

bool StepRunner::Adopt(StepId id, const Record& earlier, const std::string& change) {
  try {
    report_.steps[id] = {
        Outcome::kCached, AdoptResult(store_, earlier, Described(id, Recipe(id)), change), {}, 0};
    return true;
  } catch (const std::exception& error) {
    Warn(&id, fmt::format("its earlier result could not be stored again: {}", error.what()));
    return false;
  }
}

Report StepRunner::TakeReport() {
  std::vector<double> until(plan_.steps.size(), 0);
  for (const StepId id : plan_.order) {
    const StepResult& step = report_.steps[id];
    for (const StepId input : plan_.predecessors(id)) until[id] = std::max(until[id], until[input]);
    if (step.outcome == Outcome::kCached) report_.saved_s += step.record.wall_s;
    until[id] += step.wall_s;
    report_.critical_path_s = std::max(report_.critical_path_s, until[id]);
  }
  report_.wall_s = Now();
  report_.interrupted = options_.stop.stop_requested() && report_.Count(Outcome::kCancelled) > 0;
  RunEvent event;
  event.type = RunEvent::Type::kRunDone;
  event.report = &report_;
  Emit(event);
  return std::move(report_);
}

void StepRunner::Settle(StepId id, StepResult result) {
  StepResult& slot = report_.steps[id];
  slot = std::move(result);
  if (slot.outcome == Outcome::kFailed) failed_.store(true);
  if (Usable(slot.outcome)) store_.Remember(plan_.steps[id].name, slot.record.key);
  RunEvent event;
  event.type = RunEvent::Type::kStepDone;
  event.has_step = true;
  event.step = id;
  event.outcome = slot.outcome;
  event.wall_s = slot.wall_s;
  event.memory_bytes = slot.memory_bytes;
  event.message = slot.message;
  Emit(event);
}

void StepRunner::SettleFailure(StepId id, double wall_s) {
  const std::exception_ptr failure = std::current_exception();
  if (IsCancelled(failure) && options_.stop.stop_requested()) {
    Settle(id, {Outcome::kCancelled, {}, {}, 0});
  } else {
    Settle(id, {Outcome::kFailed, {}, MessageOf(failure), wall_s});
  }
}

StepRunner::Next StepRunner::Prepare(StepId id) {
  for (const StepId input : plan_.predecessors(id)) {
    const Outcome outcome = report_.steps[input].outcome;
    if (outcome == Outcome::kFailed || outcome == Outcome::kSkipped) {
      Settle(id, {Outcome::kSkipped, {}, "input " + plan_.steps[input].name + " failed", 0});
      return Next::kDone;
    }
  }
  for (const StepId input : plan_.predecessors(id)) {
    if (!Usable(report_.steps[input].outcome)) {
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
  HitTest test = TestHit(plan_, id, flight.key, store_);
  const StepForecast& forecast = forecast_.steps[id];
  if (test.hit && !forecast.forced) {
    Settle(id, {Outcome::kCached, test.record, {}, 0});
    return Next::kDone;
  }
  if (Stopping()) {
    Settle(id, {Outcome::kCancelled, {}, {}, 0});
    return Next::kDone;
  }
  if (forecast.accept && test.presence == Presence::kAbsent) {
    const std::optional<Record> earlier = FindAcceptable(plan_, id, store_);
    if (earlier && Adopt(id, *earlier, ExplainMiss(plan_, id, flight.recipe, store_))) {
      Settle(id, {Outcome::kCached, report_.steps[id].record, {}, 0});
      return Next::kDone;
    }
  }
  const NodeKind& kind = plan_.kind(id);
  PUZZLE_CHECK(kind.body != nullptr, "kind \"" + kind.name + "\" has no body in this program");
  flight.replace = test.outputs_lost || test.hit;
  if (!flight.waits_for.empty()) {
    // Asked before: it waited for another run, which did not finish it.
  } else if (forecast.key_closed || forecast.forced) {
    flight.reason = forecast.reason;
  } else if (test.presence == Presence::kAbsent) {
    flight.reason = ExplainMiss(plan_, id, flight.recipe, store_);
  } else {
    flight.reason = test.reason;
    Warn(&id, test.reason + ", computing it again");
  }
  return kind.needs == Needs::kHost ? Next::kHost : Next::kDevice;
}

/// False when another run computes the same. What that run made before counts as found: the hit
/// test is repeated once the claim keeps others from publishing.
bool StepRunner::TakeClaim(StepId id, Flight& flight) {
  if (flight.claim) return true;  // it begins anew
  StoreLocks::Attempt attempt = store_.locks().TryClaim(flight.key);
  if (!attempt.claim) {
    if (flight.waits_for != attempt.holder) {
      flight.waits_for = attempt.holder;
      RunEvent event;
      event.type = RunEvent::Type::kStepWaits;
      event.has_step = true;
      event.step = id;
      event.message = attempt.holder;
      Emit(event);
    }
    return false;
  }
  flight.claim = std::move(attempt.claim);
  if (forecast_.steps[id].forced) return true;
  const HitTest test = TestHit(plan_, id, flight.key, store_);
  if (test.hit) flight.found = test.record;
  return true;
}

bool StepRunner::Waits(StepId id) const {
  return !Stopping() && store_.locks().IsClaimed(flights_[id]->key);
}

StepRunner::Verdict StepRunner::Compute(StepId id, Lane& lane) {
  Flight& flight = *flights_[id];
  const NodeKind& kind = plan_.kind(id);
  flight.lane = lane.device().name();
  RunEvent event;
  event.type = RunEvent::Type::kStepStarted;
  event.has_step = true;
  event.step = id;
  event.lane = lane.name();
  event.reason = flight.reason;
  const double begin = Now();
  const double cpu_begin = ThreadSeconds();
  const int attempts = 1 + plan_.node(id).retries;
  for (int attempt = 1; attempt <= attempts; ++attempt) {
    flight.failure = nullptr;
    try {
      if (Stopping()) throw Cancelled();  // it waited in the queue meanwhile
      flight.draft = store_.Begin();      // without what a failed attempt wrote
      if (!TakeClaim(id, flight)) return Verdict::kWait;
      if (flight.found) return Verdict::kFinish;
      Emit(event);
      lane.Adapt();
      if (kind.needs != Needs::kHost) flight.memory.emplace();
      Context context(*this, id, lane, flight);
      const PortInputs inputs(*this, id);
      flight.product =
          kind.body(plan_.steps[id].params.value.get(), inputs, context, flight.draft->writer());
      break;
    } catch (...) {
      flight.failure = std::current_exception();
    }
    if (Stopping() || attempt == attempts || !MayRetry(kind, flight.failure)) break;
    const std::string message = MessageOf(flight.failure);
    flight.warnings.push_back(fmt::format("attempt {} of {}: {}", attempt, attempts, message));
    const std::string next = fmt::format("attempt {} of {}", attempt + 1, attempts);
    RunEvent again;
    again.type = RunEvent::Type::kStepRetried;
    again.has_step = true;
    again.step = id;
    again.message = message;
    again.reason = next;
    Emit(again);
  }
  flight.threads = lane.threads();
  flight.wall_s = Now() - begin;
  flight.cpu_s = ThreadSeconds() - cpu_begin;
  if (flight.memory) flight.memory_bytes = flight.memory->peak_bytes();
  return flight.failure && kind.needs != Needs::kHost ? Judge(id, lane, flight) : Verdict::kFinish;
}

bool StepRunner::MayRetry(const NodeKind& kind, const std::exception_ptr& failure) const {
  return kind.needs == Needs::kHost || Classify(failure) == FailureKind::kOrdinary;
}

FailureKind StepRunner::Classify(const std::exception_ptr& failure) const {
  try {
    std::rethrow_exception(failure);
  } catch (const std::bad_alloc&) {
    return FailureKind::kOutOfMemory;
  } catch (const std::exception& error) {
    return options_.classify ? options_.classify(error) : FailureKind::kOrdinary;
  } catch (...) {
    return FailureKind::kOrdinary;
  }
}

/// Decides whether a step that failed on a lane gets another chance, once for each cause.
StepRunner::Verdict StepRunner::Judge(StepId id, Lane& lane, Flight& flight) {
  const FailureKind kind = Classify(flight.failure);
  if (kind == FailureKind::kOrdinary) return Verdict::kFinish;
  const std::string message = MessageOf(flight.failure);
  bool& tried = kind == FailureKind::kOutOfMemory ? flight.tried_alone : flight.changed_lane;
  if (kind == FailureKind::kDeviceLost) {
    lane.Retire();
    Warn(nullptr, fmt::format("lane {} retires: {}", lane.name(), message));
  }
  if (tried || Stopping()) return Verdict::kFinish;
  tried = true;
  flight.failure = nullptr;
  flight.product = {};
  flight.draft.reset();
  if (kind == FailureKind::kOutOfMemory) CacheOf(lane.device()).Clear();
  flight.warnings.push_back(message);
  RunEvent event;
  event.type = RunEvent::Type::kStepRetried;
  event.has_step = true;
  event.step = id;
  event.message = message;
  event.reason = kind == FailureKind::kOutOfMemory ? "alone on its device" : "on another lane";
  Emit(event);
  return kind == FailureKind::kOutOfMemory ? Verdict::kTryAlone : Verdict::kTryAnotherLane;
}

std::vector<uint64_t> StepRunner::InputNumbers(StepId id) const {
  std::vector<uint64_t> numbers;
  for (const StepId input : plan_.predecessors(id)) {
    numbers.push_back(std::hash<std::string_view>()(report_.steps[input].record.digest));
  }
  return numbers;
}

void StepRunner::Refuse(StepId id, const std::string& why) {
  const std::unique_ptr<Flight> flight = std::move(flights_[id]);
  if (Stopping()) return Settle(id, {Outcome::kCancelled, {}, {}, 0});
  std::string message = why;
  if (!flight->warnings.empty()) message += "; before: " + flight->warnings.back();
  Settle(id, {Outcome::kFailed, {}, std::move(message), 0});
}

void StepRunner::Finish(StepId id) {
  const std::unique_ptr<Flight> flight = std::move(flights_[id]);
  const double wall_s = flight->wall_s;
  try {
    if (flight->failure) std::rethrow_exception(flight->failure);
    if (flight->found) return Settle(id, {Outcome::kCached, *flight->found, {}, 0});
    const double begin = Now();
    RunEvent event;
    event.type = RunEvent::Type::kStepSaving;
    event.has_step = true;
    event.step = id;
    Emit(event);
    if (flight->product.save) flight->product.save(flight->draft->writer());
    flight->draft->Close();
    flight->product = {};
    RecordDraft record = Describe(id, *flight);
    record.save_s = Now() - begin;
    Store::PublishOptions options;
    options.sync = wall_s > kSyncAfter_s;
    options.replace = flight->replace;
    const Record published = store_.Publish(std::move(flight->draft), std::move(record), options);
    Settle(id, {Outcome::kOk, published, {}, wall_s, flight->memory_bytes});
  } catch (const Cancelled&) {
    // A failure elsewhere or the user stopped this step while it waited or ran.
    if (Stopping()) {
      Settle(id, {Outcome::kCancelled, {}, {}, 0});
    } else {
      SettleFailure(id, wall_s);
    }
  } catch (...) {
    SettleFailure(id, wall_s);
  }
}

RecordDraft StepRunner::Describe(StepId id, const Flight& flight) const {
  const Step& step = plan_.steps[id];
  RecordDraft record = Described(id, flight.recipe);
  record.scalars_json = flight.draft->scalars_json();
  record.display = flight.draft->display();
  if (!step.params.output_paths.empty()) record.output_files_json = flight.draft->files_json();
  record.warnings_json = json(flight.warnings).dump(-1, ' ', false, json::error_handler_t::replace);
  record.wall_s = flight.wall_s;
  record.cpu_s = flight.cpu_s;
  record.peak_rss_mib = Mib(PeakResidentBytes());
  record.memory_mib = Mib(flight.memory_bytes);
  record.host = host_;
  record.device = flight.lane;
  record.threads = flight.threads;
  record.tool = options_.tool;
  record.finished = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
  return record;
}

ResidentCache& StepRunner::CacheOf(const Device& device) {
  const std::string name = device.type == "cpu" ? "cpu" : device.name();
  const std::scoped_lock lock(caches_mutex_);
  auto& cache = caches_[name];
  if (!cache) cache = std::make_unique<ResidentCache>(options_.resident_bytes);
  return *cache;
}

}  // namespace puzzle
