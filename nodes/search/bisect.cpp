#include "nodes/search/bisect.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "io/error.h"
#include "nodes/measure/measured_loss.h"
#include "nodes/search/frontier.h"
#include "nodes/search/search.h"

namespace puzzle {
namespace {

// Sizes that differ by less than this share of the parent's are one.
constexpr double kSameSize = 1e-6;

double ParentTotal(const CostTable& costs, const std::string& resource) {
  const auto found = std::find(costs.resources.begin(), costs.resources.end(), resource);
  if (found == costs.resources.end())
    throw Error(fmt::format("resource: the costs have no \"{}\"; they have {}", resource,
                            fmt::join(costs.resources, ", ")));
  return costs.parent_total[static_cast<size_t>(found - costs.resources.begin())];
}

Choice::Bracket WholeBracket(const BisectParams& params, double parent_total) {
  const BudgetValue from = ReadBudgetValue(params.from);
  const double low = from.percent ? from.value / 100 * parent_total : from.value;
  if (!(low >= 0 && low < parent_total))
    throw Error(fmt::format("from: {} is not below the parent's {:g}", params.from, parent_total));
  return {params.resource, low, parent_total};
}

// A measurement is of the child that it comes with, as far as both can tell.
void CheckBelongs(const MeasuredChild& before) {
  const Evaluation& evaluation = before.evaluation;
  const auto blocks = before.choice.totals.find("block_parameters");
  const bool is_other_size = blocks != before.choice.totals.end() &&
                             blocks->second != static_cast<double>(evaluation.block_parameters);
  if (is_other_size ||
      evaluation.predicted.value_or(before.choice.objective) != before.choice.objective)
    throw Error(fmt::format("the evaluation \"{}\" is not of the child that `previous` chose",
                            evaluation.label));
}

// What is left to look at behind a measurement.
Choice::Bracket Narrowed(const BisectParams& params, const MeasuredChild& before,
                         const Evaluation* parent) {
  if (!before.choice.bracket || before.choice.bracket->resource != params.resource)
    throw Error(fmt::format("`previous` is no choice of a bisect of {}", params.resource));
  CheckBelongs(before);
  Choice::Bracket bracket = *before.choice.bracket;
  const MeasuredLimit limit = ReadMeasuredLimit(params.loss);
  const bool keeps = limit.Allows(MeasuredLoss(limit, before.evaluation, parent));
  (keeps ? bracket.keeps : bracket.fails) = before.choice.totals.at(params.resource);
  return bracket;
}

}  // namespace

Choice NextToMeasure(const BisectParams& params, const CostTable& costs,
                     const std::vector<Score>& scores, const MeasuredChild* before,
                     const Evaluation* parent, const std::function<void(const std::string&)>& warn,
                     const std::function<bool()>& should_stop) {
  const double total = ParentTotal(costs, params.resource);
  const Choice::Bracket bracket =
      before == nullptr ? WholeBracket(params, total) : Narrowed(params, *before, parent);
  const double step = kSameSize * total, middle = (bracket.fails + bracket.keeps) / 2;
  SearchParams search;
  search.objective = params.objective;
  search.time_limit_s = params.time_limit_s;
  search.compare = false;
  for (const auto& [low, high] :
       {std::pair(bracket.fails + step, middle), std::pair(middle, bracket.keeps - step)}) {
    if (low > high) continue;
    search.min = params.min;
    search.max = params.max;
    search.min[params.resource] = low;
    search.max[params.resource] = high;
    FoundChild found = LookForChild(search, {costs}, scores, warn, should_stop);
    if (found.choice) {
      found.choice->bracket = bracket;
      return *std::move(found.choice);
    }
    if (!found.is_proven_none) throw Error("no child found: " + found.explanation);
  }
  if (before != nullptr) return before->choice;
  throw Error(fmt::format("no child is between {:g} and the parent's {:g} of {}", bracket.fails,
                          bracket.keeps, params.resource));
}

Choice RunBisect(const BisectParams& params, const Inputs& inputs, RunContext& context) {
  std::optional<MeasuredChild> before;
  if (inputs.Has("previous"))
    before = {*inputs.Get<Choice>("previous"), *inputs.Get<Evaluation>("evaluation")};
  std::optional<Evaluation> parent;
  if (inputs.Has("parent_evaluation")) parent = *inputs.Get<Evaluation>("parent_evaluation");
  std::vector<Score> scores;
  for (const auto& input : inputs.List<Score>("scores")) scores.push_back(*input.Load());
  const auto poll = [&context] {
    context.Poll(0);  // throws when the user asked to stop
    return false;
  };
  return NextToMeasure(
      params, *inputs.Get<CostTable>("costs"), scores, before ? &*before : nullptr,
      parent ? &*parent : nullptr, [&](const std::string& text) { context.Warn(text); }, poll);
}

}  // namespace puzzle
