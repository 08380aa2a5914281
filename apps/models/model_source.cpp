#include "apps/models/model_source.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <filesystem>
#include <memory>
#include <string_view>

#include "apps/frame/load.h"
#include "graph/view/show.h"
#include "io/error.h"
#include "nodes/data/load_model.h"
#include "nodes/precision/artifacts.h"

namespace puzzle {

namespace {

namespace fs = std::filesystem;

/// The colon behind the graph's name; npos when there is none. Names of steps may have colons too.
size_t ColonBehindGraph(const std::string& model) {
  std::error_code failure;
  if (fs::exists(model, failure)) return std::string::npos;
  for (size_t at = model.find(':'); at != std::string::npos; at = model.find(':', at + 1))
    if (fs::is_regular_file(model.substr(0, at), failure)) return at;
  return std::string::npos;
}

StepId OnlyStep(const Plan& plan, const std::string& pattern, const std::string& model) {
  Diagnostics diagnostics;
  const std::vector<StepId> steps = MatchSteps(plan, pattern, model, diagnostics);
  if (!diagnostics.empty()) throw Error(diagnostics.Text());
  if (steps.size() == 1) return steps.front();
  throw Error(fmt::format("{}: {} steps are meant, {} and others; name one of them", model,
                          steps.size(), plan.steps[steps.front()].name));
}

/// A graph whose steps have results.
class RunGraph {
 public:
  RunGraph(const ModelSource& source, size_t colon, const Registry& registry, const Hooks& hooks) {
    options_.graph = source.model.substr(0, colon);
    options_.settings = source.settings;
    options_.store = source.store;
    store_ = OpenStore(options_);
    prepared_ = Prepare(options_, {}, registry, hooks, *store_, /*for_run=*/false);
    if (!prepared_) throw Error(options_.graph + ": is no graph that could run");
  }

  /// The record of the one step that `pattern` means. `whole` is how the user named it.
  [[nodiscard]] const Record& Find(const std::string& pattern, std::string_view type,
                                   const std::string& whole) const {
    const auto& [plan, forecast] = *prepared_;
    const StepId step = OnlyStep(plan, pattern, whole);
    const std::string& name = plan.steps[step].name;
    if (const std::string& output = plan.kind(step).output; output != type)
      throw Error(fmt::format("{}: {} makes a {}, not a {}", options_.graph, name, output, type));
    if (forecast.steps[step].fate != Fate::kHit)
      throw Error(fmt::format("{}: {} has no result in {} ({}); make it with: {} --until {}",
                              options_.graph, name, options_.store, forecast.steps[step].reason,
                              options_.Command(), ShellWord(name)));
    return forecast.steps[step].record;
  }
  template <class T>
  [[nodiscard]] T Load(const Record& record) const {
    return T::Load(store_->Open(record));
  }

 private:
  GraphOptions options_;
  std::unique_ptr<Store> store_;
  std::optional<Prepared> prepared_;
};

ModelAndTypes ReadStep(const ModelSource& source, size_t colon, const std::string& precision,
                       const Registry& registry, const Hooks& hooks) {
  const RunGraph graph(source, colon, registry, hooks);
  const Record& model = graph.Find(source.model.substr(colon + 1), Checkpoint::kType, source.model);
  ModelAndTypes found{graph.Load<Checkpoint>(model), {}};
  if (precision.empty()) return found;
  const auto chosen =
      graph.Load<Precision>(graph.Find(precision, Precision::kType, "--precision " + precision));
  found.types = chosen.TypesFor(found.checkpoint.model.config);
  return found;
}

}  // namespace

std::optional<std::string> StepOfGraph(const std::string& model) {
  const size_t colon = ColonBehindGraph(model);
  if (colon == std::string::npos) return std::nullopt;
  return model.substr(colon + 1);
}

ModelAndTypes ReadModel(const ModelSource& source, const std::string& precision,
                        const Registry& registry, const Hooks& hooks) {
  const size_t colon = ColonBehindGraph(source.model);
  if (colon != std::string::npos) return ReadStep(source, colon, precision, registry, hooks);
  if (!precision.empty())
    throw Error(
        fmt::format("--precision {} is a step of a graph, and so has to be the model: "
                    "GRAPH:STEP",
                    precision));
  return {
      ReadCheckpoint(source.model, [](const std::string& message) { spdlog::warn("{}", message); }),
      {}};
}

}  // namespace puzzle
