#include "graph/plan/stale.h"

#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "graph/plan/each_step.h"
#include "graph/plan/reason.h"
#include "io/error.h"
#include "io/references.h"

namespace puzzle {
namespace {

using nlohmann::json;

/// Guesses for kinds that never ran.
constexpr double kGuessDevice_s = 1.0;
constexpr double kGuessHost_s = 0.05;

using Files = std::vector<RecordedOutput>;

/// Files of the user's that the artifact refers to instead of holding their content.
Files ReferredFiles(const json& record) {
  const json scalars = record.value("scalars", json::object());
  const auto text = scalars.find(kReferredFiles);
  Files files;
  if (text == scalars.end() || !text->is_string()) return files;
  for (const auto& [path, stamp] : FilesFromText(text->get<std::string>())) {
    files.push_back({path, static_cast<int64_t>(stamp.bytes)});
  }
  return files;
}

/// Files that the step wrote into its output folders.
Files OutputFiles(const Step& step, const json& record) {
  Files outputs;
  const json files = record.value("output_files", json::object());
  for (const auto& [param, folder] : step.params.output_paths) {
    if (folder.empty()) continue;
    for (const auto& [name, bytes] : files.items()) {
      outputs.push_back({folder + '/' + name, {}});
      if (bytes.is_number()) outputs.back().bytes = bytes.get<int64_t>();
    }
  }
  return outputs;
}

/// The path of the first file that is gone or has another size, or "".
std::string LostOf(const Files& files) {
  for (const RecordedOutput& file : files) {
    struct stat info {};
    if (::stat(file.path.c_str(), &info) != 0) return file.path + " is gone";
    if (file.bytes && info.st_size != *file.bytes) return file.path + " changed";
  }
  return {};
}

/// What is not any more of the files that a result needs besides its artifact, or "".
std::string LostOutput(const Step& step, const Record& record) {
  if (!record.has_output_files) return {};
  const json value = RecordJson(record);
  if (const std::string lost = LostOf(OutputFiles(step, value)); !lost.empty()) {
    return "output file " + lost;
  }
  const std::string lost = LostOf(ReferredFiles(value));
  return lost.empty() ? "" : "what it refers to is not where it was: " + lost;
}

/// A file in the output folders that was written for another result of the step, after this one was
/// made, or "". Sizes do not tell: models of one shape have files of one size.
std::string OverwrittenOutput(const Step& step, const Record& record, Store& store) {
  if (!record.has_output_files || step.params.output_paths.empty()) return {};
  const auto last = store.LastKey(step.name);
  if (!last || *last == record.key) return {};
  for (const RecordedOutput& file : OutputFiles(step, RecordJson(record))) {
    const auto stamp = StampOf(file.path);
    if (stamp && stamp->mtime_ns > record.mtime_ns)
      return "output file " + file.path + " is of another result";
  }
  return {};
}

/// Seconds of past runs: of the same step, else the mean of its kind, else a guess.
class Estimator {
 public:
  Estimator(const Plan& plan, Store& store) : plan_(plan), store_(store) {}

  double Of(StepId step) {
    const std::optional<Record> past = PastOf(plan_, step, store_);
    if (!past) return -1;
    Learn(step, past->wall_s);
    return past->wall_s;
  }
  void Learn(StepId step, double wall_s) {
    auto& [sum, count] = known_[&plan_.kind(step)];
    sum += wall_s;
    ++count;
  }
  /// Fills in what the step's own past does not tell.
  void Guess(StepId id, StepForecast& step) const {
    const NodeKind& kind = plan_.kind(id);
    if (const auto it = known_.find(&kind); it != known_.end()) {
      step.expected_s = it->second.first / it->second.second;
    } else {
      step.expected_s = kind.needs == Needs::kHost ? kGuessHost_s : kGuessDevice_s;
      step.guessed = true;
    }
  }

 private:
  const Plan& plan_;
  Store& store_;
  std::map<const NodeKind*, std::pair<double, double>> known_;
};

/// Whether the user asked for this step; lists that were not given ask for nothing.
bool Asked(const std::vector<bool>& list, StepId id) {
  return !list.empty() && list[id];
}

void MarkStep(const Plan& plan, StepId id, Store& store, const StepOrders& orders,
              Forecast& forecast) {
  StepForecast& step = forecast.steps[id];
  step.forced = Asked(orders.forced, id);
  step.accept = Asked(orders.accepted, id);
  step.outside = Asked(orders.outside, id);
  const StepId* waits_for = nullptr;
  for (const StepId& input : plan.predecessors(id)) {
    if (forecast.steps[input].fate != Fate::kHit) {
      waits_for = &input;
      break;
    }
  }
  if (waits_for != nullptr) {
    if (step.forced) {
      step.reason = "forced";
    } else if (!step.accept) {
      step.reason = ExplainMiss(plan, id, "", store);
    }
    step.fate = step.reason.empty() ? Fate::kWait : Fate::kRun;
    step.group = step.reason;
    if (step.fate == Fate::kWait) {
      step.reason = "waits for " + plan.steps[*waits_for].name;
      step.group = "waits for " + plan.node_name(*waits_for);
    }
    return;
  }
  const std::string recipe = RecipeText(plan, id, CollectDigests(plan.steps[id], [&](StepId i) {
                                          return forecast.steps[i].record.digest;
                                        }));
  step.key_closed = true;
  step.key = KeyOf(recipe);
  if (step.forced) {
    step.reason = step.group = "forced";
    return;
  }
  HitTest test = TestHit(plan, id, step.key, store);
  if (test.hit) {
    step.fate = Fate::kHit;
    step.record = test.record;
    return;
  }
  step.outputs_lost = test.outputs_lost;
  step.reason =
      test.presence == Presence::kAbsent ? ExplainMiss(plan, id, recipe, store) : test.reason;
  step.group = step.reason;
  if (step.accept && test.presence == Presence::kAbsent) {
    if (auto earlier = FindAcceptable(plan, id, store)) {
      step.fate = Fate::kHit;
      step.accepts = true;
      step.record = std::move(*earlier);
      return;
    }
    step.warning = plan.steps[id].name + ": there is no earlier result to accept";
  }
  if (test.presence != Presence::kAbsent) {
    step.group = test.outputs_lost ? "files outside of the store lost" : test.reason;
    step.warning = plan.steps[id].name + ": " + test.reason + ", computing it again";
  }
}

}  // namespace

std::string_view FateName(const StepForecast& step) {
  switch (step.fate) {
    case Fate::kHit:
      return step.accepts ? "KEEP" : "HIT";
    case Fate::kRun:
      return "RUN";
    case Fate::kWait:
      return "WAIT";
  }
  return {};
}

void SortUnique(std::vector<std::string_view>& digests) {
  if (digests.size() < 2) return;
  std::sort(digests.begin(), digests.end());
  digests.erase(std::unique(digests.begin(), digests.end()), digests.end());
}

std::vector<RecordedOutput> RecordedOutputs(const Step& step, const Record& record) {
  if (!record.has_output_files) return {};
  const json value = RecordJson(record);
  Files files = OutputFiles(step, value);
  const Files referred = ReferredFiles(value);
  files.insert(files.end(), referred.begin(), referred.end());
  return files;
}

HitTest TestHit(const Plan& plan, StepId step, const std::string& key, Store& store) {
  HitTest test;
  const Lookup found = store.Find(key);
  test.presence = found.presence;
  test.record = found.record;
  if (found.presence != Presence::kWhole) {
    test.reason = PresenceText(found.presence);
    if (found.presence != Presence::kAbsent) test.reason += " (" + store.PathOf(test.record) + ")";
    return test;
  }
  std::string lost;
  try {
    lost = LostOutput(plan.steps[step], test.record);
    if (lost.empty()) lost = OverwrittenOutput(plan.steps[step], test.record, store);
  } catch (const Error&) {  // a record that breaks a rule is none
    test.presence = Presence::kAbsent;
    test.reason = PresenceText(Presence::kAbsent);
    return test;
  }
  if (!lost.empty()) {
    test.outputs_lost = true;
    test.reason = lost;
    return test;
  }
  test.hit = true;
  return test;
}

std::string ExplainMiss(const Plan& plan, StepId step, const std::string& recipe, Store& store) {
  const auto last = store.LastKey(plan.steps[step].name);
  const auto record = last ? store.FindRecord(*last) : std::nullopt;
  if (!record) return "missing";
  std::optional<Change> change;
  try {
    change = FirstChange(RecordJson(*record).at("recipe"),
                         recipe.empty() ? OpenRecipe(plan, step) : json::parse(recipe));
  } catch (const std::exception&) {
    return "missing";
  }
  if (!change) return recipe.empty() ? "" : "missing";  // open: the inputs are not known yet
  NameSubject(plan, step, *change);
  return change->Text();
}

std::optional<Record> PastOf(const Plan& plan, StepId step, Store& store) {
  const auto key = store.LastKey(plan.steps[step].name);
  std::optional<Record> past = key ? store.FindRecord(*key) : std::nullopt;
  if (past && past->type != plan.kind(step).output) past.reset();
  return past;
}

std::optional<Record> FindAcceptable(const Plan& plan, StepId step, Store& store) {
  const auto last = store.LastKey(plan.steps[step].name);
  if (!last) return std::nullopt;
  const Lookup found = store.Find(*last);
  if (found.presence != Presence::kWhole || found.record.type != plan.kind(step).output) {
    return std::nullopt;
  }
  return found.record;
}

void AddUp(const Plan& plan, Forecast& forecast) {
  forecast.expected_s = 0;
  forecast.remaining_s.assign(plan.steps.size(), 0);
  for (size_t i = plan.order.size(); i-- > 0;) {
    const StepId id = plan.order[i];
    const StepForecast& step = forecast.steps[id];
    if (step.fate != Fate::kHit) forecast.expected_s += step.expected_s;
    double after = 0;
    for (const StepId next : plan.successors(id)) {
      after = std::max(after, forecast.remaining_s[next]);
    }
    forecast.remaining_s[id] = step.expected_s + after;
  }
}

Forecast MarkStale(const Plan& plan, Store& store, const StepOrders& orders) {
  Forecast forecast;
  const size_t n = plan.steps.size();
  forecast.steps.resize(n);
  Estimator estimator(plan, store);
  ForEachStep(plan, [&](StepId id) { MarkStep(plan, id, store, orders, forecast); });
  for (const StepId id : plan.order) {
    StepForecast& step = forecast.steps[id];
    switch (step.fate) {
      case Fate::kHit:
        ++forecast.hits;
        forecast.saved_s += step.record.wall_s;
        estimator.Learn(id, step.record.wall_s);
        break;
      case Fate::kRun:
        ++forecast.runs;
        step.expected_s = estimator.Of(id);
        break;
      case Fate::kWait:
        ++forecast.waits;
        step.expected_s = estimator.Of(id);
        break;
    }
  }
  for (StepId id = 0; id < n; ++id) {
    StepForecast& step = forecast.steps[id];
    if (step.fate != Fate::kHit && step.expected_s < 0) estimator.Guess(id, step);
  }
  AddUp(plan, forecast);
  return forecast;
}

double Forecast::Estimate(size_t lanes) const {
  double longest = 0;
  for (const double seconds : remaining_s) longest = std::max(longest, seconds);
  return std::max(longest, expected_s / static_cast<double>(std::max<size_t>(lanes, 1)));
}

}  // namespace puzzle
