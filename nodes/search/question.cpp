#include "nodes/search/question.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "io/error.h"

namespace puzzle {
namespace {

// The choice that loses least among those that cost no more than `best`, which is one of them.
MipSolution WithLeastLoss(const MipProblem& problem, MipSolution best,
                          const SearchSettings& settings) {
  MipProblem ties = problem;
  for (auto& group : ties.groups) {
    for (MipOption& option : group) std::swap(option.score, option.costs.back());
  }
  // Limits give way by 1e-9 of their value; what costs more than `best` by that is no tie.
  ties.limits.back() = {.resource = "cost of the smallest child",
                        .high = best.objective - 0.999e-9 * std::abs(best.objective)};
  MipOptions options;
  options.time_limit_s = settings.time_limit_s;
  options.should_stop = settings.should_stop;
  options.explain = false;
  options.hint = {{}, best.choice};
  MipSolution least = SolveMip(ties, options);
  if (least.choice.empty()) return best;
  const std::vector<double> totals = ChoiceTotals(problem, least.choice);
  if (!WithinLimits(problem, totals) || totals.back() >= best.totals.back()) return best;
  best.choice = std::move(least.choice);
  best.totals = totals;
  best.time_s += least.time_s;
  return best;
}

std::vector<MipSolution> Solve(const VariantTable& table, const SearchProblem& search,
                               const Question& question) {
  SearchSettings settings = question.settings;
  settings.sizes = ParameterCounts(table, search);
  std::vector<MipSolution> solutions = Search(search.problem, settings);
  MipSolution& first = solutions.front();
  if (question.loss && settings.pool == 1 && !first.choice.empty()) {
    first = WithLeastLoss(search.problem, std::move(first), settings);
  }
  return solutions;
}

// By how much of itself the limit nearest to working would have to move.
double Relaxation(const MipSolution& solution) {
  double least = kInfinity;
  for (const WorkableLimit& limit : solution.nearest) {
    least = std::min(least,
                     std::abs(limit.works - limit.asked) / std::max(std::abs(limit.asked), 1e-300));
  }
  return least;
}

// Whether `a` is the better answer to a question about equal layers: the better child, of those
// that are as small the one that loses less, or the smaller obstacle.
bool IsBetter(const MipSolution& a, const MipSolution& b, bool is_inverse) {
  if (a.choice.empty() != b.choice.empty()) return b.choice.empty();
  if (a.choice.empty()) return Relaxation(a) < Relaxation(b);
  if (a.objective != b.objective || !is_inverse) return a.objective < b.objective;
  return a.totals.back() < b.totals.back();
}

// What the answers to all shapes prove together about the best of them.
void Conclude(MipSolution& best, double bound, bool is_known, double time_s) {
  best.time_s = time_s;
  if (best.choice.empty()) {
    if (!is_known) best.status = SolveStatus::kNoSolution;
    return;
  }
  best.bound = std::min(bound, best.objective);
  const double difference = best.objective - best.bound;
  best.gap = difference == 0 ? 0 : difference / std::max(std::abs(best.objective), 1e-300);
  if (difference > 0) best.status = SolveStatus::kFeasible;
}

// Searches every shape that all layers can take.
void AskForShapes(const VariantTable& table, const Question& question, TableAnswer& answer) {
  double bound = kInfinity, time_s = 0;
  bool is_known = true;
  answer.free_search = answer.search;
  answer.free = Solve(table, answer.search, question).front();
  for (const UniformShape& shape : UniformShapes(table, question.uniform)) {
    std::optional<SearchProblem> alike = OfShape(table, *answer.free_search, shape);
    if (!alike) continue;
    std::vector<MipSolution> found = Solve(table, *alike, question);
    const MipSolution& first = found.front();
    time_s += first.time_s;
    if (first.status == SolveStatus::kNoSolution) is_known = false;
    if (first.status != SolveStatus::kInfeasible) bound = std::min(bound, first.bound);
    if (!answer.solutions.empty() &&
        !IsBetter(first, answer.solutions.front(), question.loss.has_value())) {
      continue;
    }
    answer.solutions = std::move(found);
    answer.search = std::move(*alike);
    answer.shape = shape.Text();
  }
  if (answer.solutions.empty()) {
    MipSolution& none = answer.solutions.emplace_back();
    none.status = SolveStatus::kInfeasible;
    none.explanation = fmt::format(
        "uniform {}: no such shape is among the scored variants of "
        "every layer",
        UniformNames()[static_cast<size_t>(question.uniform)]);
    return;
  }
  MipSolution& best = answer.solutions.front();
  Conclude(best, bound, is_known, time_s);
  if (!best.choice.empty()) return;
  best.explanation =
      fmt::format("no child with equal layers; nearest is {}: {}", answer.shape, best.explanation);
}

}  // namespace

std::optional<std::string> Question::Complaint() const {
  if (loss && !IsSolver(settings.method)) {
    return fmt::format("the smallest child within a loss needs the method exact or cbc, not {}",
                       settings.method);
  }
  if (uniform != Uniform::kNone && settings.pool > 1) {
    return "a pool and uniform layers cannot be asked for together";
  }
  return std::nullopt;
}

std::string TableAnswer::UniformText() const {
  if (!free || solutions.front().choice.empty()) return "";
  const double loss = LossOf(*this, solutions.front());
  std::string text = fmt::format("the same in all layers: {}; ", shape);
  if (free->choice.empty()) return text + fmt::format("loss {:.6f}", loss);
  const auto more = [](double value, double than) {
    const std::string part =
        than == 0 ? "" : fmt::format(" ({:+.2f} %)", 100 * (value - than) / std::abs(than));
    return fmt::format("{:+.6g}{} against free layers", value - than, part);
  };
  const MipSolution& best = solutions.front();
  return text + (minimized.empty()
                     ? fmt::format("loss {:.6f}, {}", loss, more(loss, free->objective))
                     : fmt::format("{} {:.12g}, {}", minimized, best.objective,
                                   more(best.objective, free->objective)));
}

double LossOf(const TableAnswer& answer, const MipSolution& solution) {
  return answer.minimized.empty() ? solution.objective : solution.totals.back();
}

TableAnswer AskTable(const VariantTable& table, const Question& question,
                     const std::function<void(const std::string&)>& warn) {
  if (const auto complaint = question.Complaint()) throw Error(*complaint);
  TableAnswer answer{MakeSearchProblem(table, question.objective, question.limits, warn), {}};
  if (question.loss) {
    answer.minimized = MinimizedResource(table, *question.loss);
    answer.search =
        InverseProblem(table, question.objective, std::move(answer.search), *question.loss);
  }
  if (question.uniform == Uniform::kNone) {
    answer.solutions = Solve(table, answer.search, question);
  } else {
    AskForShapes(table, question, answer);
  }
  return answer;
}

}  // namespace puzzle
