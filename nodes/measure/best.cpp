#include "nodes/measure/best.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <tuple>
#include <vector>

#include <fmt/format.h>

#include "io/error.h"
#include "nodes/measure/artifacts.h"
#include "nodes/measure/measured_loss.h"

namespace puzzle {

namespace {

// The evaluations of a step by what they measured, and the parent's own if it is there: the one
// that was not compared with a parent.
struct Measurements {
  std::map<std::string, Evaluation> of_model;  // by digest
  std::optional<Evaluation> parent;

  explicit Measurements(const Inputs& inputs) {
    for (const auto& input : inputs.List<Evaluation>("evaluations")) {
      const auto evaluation = input.Load();
      if (!evaluation->has_kl && parent)
        throw Error(
            fmt::format("\"{}\" and \"{}\" were both measured without a parent: connect the "
                        "port `parent` of all evaluations but the parent's own",
                        parent->label, evaluation->label));
      if (!evaluation->has_kl) parent = *evaluation;
      of_model.insert({evaluation->model_digest, *evaluation});
    }
  }

  [[nodiscard]] const Evaluation& Of(const Input<Checkpoint>& model) const {
    const auto found = of_model.find(model.digest());
    if (found == of_model.end())
      throw Error("a model at port `models` has no evaluation at port `evaluations`");
    return found->second;
  }
};

double KlOf(const Evaluation& evaluation) {
  if (!evaluation.has_kl)
    throw Error(fmt::format("the evaluation \"{}\" has no KL: connect its port `parent`",
                            evaluation.label));
  const double kl = evaluation.metrics.Mean(Metric::kKl);
  if (!std::isfinite(kl))
    throw Error(fmt::format("the KL of \"{}\" is not a number", evaluation.label));
  return kl;
}

// The fewest parameters within the limit; of models as small the one that loses less.
const Input<Checkpoint>& SmallestWithin(const MeasuredLimit& limit,
                                        const std::vector<Input<Checkpoint>>& models,
                                        const Measurements& measured) {
  const Input<Checkpoint>* best = nullptr;
  std::tuple<int64_t, double> least;
  std::string nearest;
  double nearest_loss = 0;
  for (const auto& model : models) {
    const Evaluation& evaluation = measured.Of(model);
    const bool is_parent = !evaluation.has_kl;
    const double loss =
        is_parent ? 0
                  : MeasuredLoss(limit, evaluation, measured.parent ? &*measured.parent : nullptr);
    if (nearest.empty() || loss < nearest_loss) {
      nearest = evaluation.label;
      nearest_loss = loss;
    }
    const std::tuple<int64_t, double> own{evaluation.parameters, loss};
    if (!limit.Allows(loss) || (best != nullptr && own >= least)) continue;
    best = &model;
    least = own;
  }
  if (best != nullptr) return *best;
  throw Error(
      fmt::format("every model loses {}; \"{}\" loses {:.4g}{}, the least. Allow more, "
                  "measure larger children, or put the parent among the models",
                  limit.Text(), nearest, nearest_loss, limit.percent ? "%" : ""));
}

const Input<Checkpoint>& Closest(const std::vector<Input<Checkpoint>>& models,
                                 const Measurements& measured) {
  for (const auto& [digest, evaluation] : measured.of_model) static_cast<void>(KlOf(evaluation));
  std::vector<double> kl;
  for (const auto& model : models) kl.push_back(KlOf(measured.Of(model)));
  return models[static_cast<size_t>(std::min_element(kl.begin(), kl.end()) - kl.begin())];
}

}  // namespace

Checkpoint RunBest(const BestParams& params, const Inputs& inputs, RunContext&) {
  const Measurements measured(inputs);
  const auto models = inputs.List<Checkpoint>("models");
  if (models.empty()) throw Error("there are no models to choose from");
  const auto& best = params.within.empty()
                         ? Closest(models, measured)
                         : SmallestWithin(ReadMeasuredLimit(params.within), models, measured);
  return *best.Load();
}

}  // namespace puzzle
