#include "nodes/measure/best.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "io/error.h"
#include "nodes/measure/artifacts.h"

namespace puzzle {

Checkpoint RunBest(const BestParams&, const Inputs& inputs, RunContext&) {
  std::map<std::string, double> kl;  // by digest of the model
  for (const auto& input : inputs.List<Evaluation>("evaluations")) {
    const auto evaluation = input.Load();
    if (!evaluation->has_kl)
      throw Error(fmt::format("the evaluation \"{}\" has no KL: connect its port `parent`",
                              evaluation->label));
    const double value = evaluation->metrics.Mean(Metric::kKl);
    if (!std::isfinite(value))
      throw Error(fmt::format("the KL of \"{}\" is not a number", evaluation->label));
    kl[evaluation->model_digest] = value;
  }
  const auto models = inputs.List<Checkpoint>("models");
  const auto value_of = [&](const Input<Checkpoint>& model) {
    const auto found = kl.find(model.digest());
    if (found == kl.end())
      throw Error("a model at port `models` has no evaluation at port `evaluations`");
    return found->second;
  };
  if (models.empty()) throw Error("there are no models to choose from");
  const auto best =
      std::min_element(models.begin(), models.end(),
                       [&](const auto& a, const auto& b) { return value_of(a) < value_of(b); });
  static_cast<void>(value_of(*best));  // also of a single candidate
  return *best->Load();
}

}  // namespace puzzle
