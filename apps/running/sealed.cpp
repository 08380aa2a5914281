#include "apps/running/sealed.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "graph/plan/stale.h"
#include "graph/store/seal.h"
#include "io/clock.h"
#include "io/error.h"
#include "io/file.h"
#include "io/fingerprint.h"

namespace puzzle {
namespace {

bool IsPlain(const RunOptions& options) {
  const OutputOptions& outputs = options.outputs;
  return options.graph.shared_stores.empty() && options.selection.empty() && !options.verbose &&
         !options.on.given() && !options.worker.given() && outputs.events.empty() &&
         outputs.trace.empty() && outputs.report.empty() && outputs.summary.empty() &&
         options.graph.graph != "-" && !OpenDescriptorOf(options.graph.graph);
}

/// Everything that decides the answer and is no file.
std::string IdentityOf(const RunOptions& options, const Hooks& hooks) {
  Fingerprint fingerprint;
  fingerprint.AddField("seal 1").AddField(PUZZLE_VERSION);
  std::error_code failure;
  fingerprint.AddField(std::filesystem::current_path(failure).string());
  for (const std::string& argument : options.graph.Arguments()) fingerprint.AddField(argument);
  if (options.graph.strict_environment && hooks.numerics) {
    for (const auto& [name, value] : hooks.numerics()) {
      fingerprint.AddField(name).AddField(value);
    }
  }
  return fingerprint.Hex();
}

/// False when something may have changed since `begin_ns`, or is not the store's own.
bool AddResults(const Prepared& prepared, const std::vector<ReadPath>& read_for_plan,
                int64_t begin_ns, Seal& seal) {
  std::map<std::string, bool> paths;  // path -> is a checkpoint
  for (const ReadPath& read : read_for_plan) paths[read.path] |= read.is_folder;
  for (StepId id = 0; id < prepared.plan.steps.size(); ++id) {
    const Step& step = prepared.plan.steps[id];
    const StepForecast& forecast = prepared.forecast.steps[id];
    if (forecast.accepts || !forecast.warning.empty() || forecast.record.layer != 0) return false;
    for (const auto& input : step.params.inputs) {
      if (!input->settled) return false;
      paths[input->path] |= input->is_folder;
    }
    for (const RecordedOutput& output : RecordedOutputs(step, forecast.record)) {
      paths[output.path] |= false;
    }
    SealedArtifact& artifact = seal.artifacts.emplace_back();
    artifact.key = KeyBytes(forecast.record.key);
    artifact.bytes = forecast.record.bytes;
    artifact.mtime_ns = forecast.record.mtime_ns;
  }
  std::sort(seal.artifacts.begin(), seal.artifacts.end(),
            [](const SealedArtifact& a, const SealedArtifact& b) { return a.key < b.key; });
  return AddPath("/proc/self/exe", false, begin_ns, seal) &&
         std::all_of(paths.begin(), paths.end(), [&](const auto& path) {
           return AddPath(path.first, path.second, begin_ns, seal);
         });
}

}  // namespace

std::optional<HitsAnswer> AnswerFromSeal(const RunOptions& options, const Hooks& hooks,
                                         Store& store) {
  if (!IsPlain(options)) return std::nullopt;
  const double begin_s = MonotonicSeconds();
  std::optional<Seal> seal = FindSeal(store, IdentityOf(options, hooks));
  if (!seal) return std::nullopt;
  for (const auto& [type, facts] : seal->environments) {
    if (!hooks.environment || hooks.environment(type) != facts) return std::nullopt;
  }
  store.RemoveLeftovers();
  HitsAnswer answer;
  answer.display = std::move(seal->display);
  answer.totals.steps = answer.totals.cached = seal->steps;
  answer.totals.saved_s = seal->saved_s;
  answer.totals.wall_s = MonotonicSeconds() - begin_s;
  return answer;
}

void SealAnswer(const RunOptions& options, const Hooks& hooks, const Prepared& prepared,
                const std::vector<ReadPath>& read, const HitsAnswer& answer, int64_t begin_ns,
                const Store& store) {
  if (!IsPlain(options)) return;
  try {
    Seal seal;
    if (!AddResults(prepared, read, begin_ns, seal)) return;
    seal.identity = IdentityOf(options, hooks);
    seal.last_remembered = store.LastRemembered();
    seal.environments = prepared.plan.environments;
    seal.steps = answer.totals.steps;
    seal.saved_s = answer.totals.saved_s;
    seal.display = answer.display;
    LeaveSeal(store, seal);
  } catch (const Error&) {  // something went away meanwhile: the next run plans
  }
}

}  // namespace puzzle
