// The module behind nodes/solver/mip_cbc.h.
#include <CbcEventHandler.hpp>
#include <CbcHeuristic.hpp>
#include <CbcHeuristicRINS.hpp>
#include <CbcModel.hpp>
#include <CglGomory.hpp>
#include <CglKnapsackCover.hpp>
#include <CglMixedIntegerRounding2.hpp>
#include <CglProbing.hpp>
#include <CoinPackedMatrix.hpp>
#include <OsiClpSolverInterface.hpp>
#include <algorithm>
#include <cmath>

#include "nodes/solver/mip_clock.h"
#include "nodes/solver/mip_limits.h"

namespace puzzle {
namespace {

// The largest coefficient of a row and of the objective as CBC sees them. Its tolerances are
// absolute (1e-9 below), so this makes them 1e-12 of the largest difference within a group.
constexpr double kCoefficientRange = 1e3;
constexpr double kSolverTolerance = 1e-9;

// Affine image of one resource (or of the score) under which the cheapest option of every group
// costs 0 and the largest coefficient is kCoefficientRange: what CBC's absolute tolerances see is
// then the difference that a choice makes, whatever the unit and however large the common part.
struct Scaling {
  double offset = 0;  // sum over groups of the least value
  double factor = 1;

  [[nodiscard]] double Apply(double total) const { return (total - offset) * factor; }
  [[nodiscard]] double Undo(double scaled) const { return scaled / factor + offset; }
};

// The binary program handed to CBC: a column per option worth considering, a row per group (its
// columns sum to one) and one per limit.
class BinaryProgram {
 public:
  explicit BinaryProgram(const MipProblem& problem) : problem_(problem) {
    for (size_t g = 0; g < problem.groups.size(); ++g) {
      first_column_.push_back(static_cast<int>(columns_.size()));
      for (int o : UndominatedOptions(problem.groups[g], problem.limits)) {
        columns_.push_back({static_cast<int>(g), o});
      }
    }
    first_column_.push_back(static_cast<int>(columns_.size()));

    objective_scaling_ = AddObjective();
    AddGroupRows();
    for (size_t r = 0; r < problem.limits.size(); ++r) AddLimitRow(r);
  }

  // Forbids exactly this choice from now on.
  void Exclude(const std::vector<int>& choice) {
    CoinPackedVector row;
    for (size_t c = 0; c < columns_.size(); ++c) {
      if (choice[columns_[c].group] == columns_[c].option) row.insert(static_cast<int>(c), 1.0);
    }
    AddRow(row, -COIN_DBL_MAX, static_cast<double>(problem_.groups.size()) - 1);
  }

  void Load(OsiClpSolverInterface& solver) const {
    const std::vector<double> zeros(columns_.size(), 0.0);
    const std::vector<double> ones(columns_.size(), 1.0);
    solver.loadProblem(matrix_, zeros.data(), ones.data(), objective_.data(), row_low_.data(),
                       row_high_.data());
    for (size_t c = 0; c < columns_.size(); ++c) solver.setInteger(static_cast<int>(c));
  }

  // The choice nearest to a solution of the program.
  [[nodiscard]] std::vector<int> ChoiceOf(const double* x) const {
    std::vector<int> choice;
    for (size_t g = 0; g < problem_.groups.size(); ++g) {
      const double* best = std::max_element(x + first_column_[g], x + first_column_[g + 1]);
      choice.push_back(columns_[best - x].option);
    }
    return choice;
  }

  [[nodiscard]] const Scaling& objective_scaling() const { return objective_scaling_; }

 private:
  struct Column {
    int group;
    int option;
  };

  // Fills `values` with the scaled coefficients of `value_of` (a number per option).
  template <class ValueOf>
  Scaling Scale(const ValueOf& value_of, std::vector<double>& values) const {
    values.resize(columns_.size());
    Scaling scaling;
    double range = 0;
    for (size_t g = 0; g < problem_.groups.size(); ++g) {
      double least = kInfinity;
      for (int c = first_column_[g]; c < first_column_[g + 1]; ++c) {
        values[c] = value_of(problem_.groups[g][columns_[c].option]);
        least = std::min(least, values[c]);
      }
      for (int c = first_column_[g]; c < first_column_[g + 1]; ++c) {
        values[c] -= least;
        range = std::max(range, values[c]);
      }
      scaling.offset += least;
    }
    if (range > 0) scaling.factor = kCoefficientRange / range;
    for (double& value : values) value *= scaling.factor;
    return scaling;
  }

  Scaling AddObjective() {
    return Scale([](const MipOption& option) { return option.score; }, objective_);
  }

  void AddGroupRows() {
    for (size_t g = 0; g < problem_.groups.size(); ++g) {
      CoinPackedVector row;
      for (int c = first_column_[g]; c < first_column_[g + 1]; ++c) row.insert(c, 1.0);
      AddRow(row, 1, 1);
    }
  }

  void AddLimitRow(size_t r) {
    const MipLimit& limit = problem_.limits[r];
    if (!std::isfinite(limit.low) && !std::isfinite(limit.high)) return;
    std::vector<double> values;
    Scaling scaling = Scale([r](const MipOption& option) { return option.costs[r]; }, values);
    scaling.offset += limit.fixed;
    CoinPackedVector row;
    for (size_t c = 0; c < values.size(); ++c) {
      if (values[c] != 0) row.insert(static_cast<int>(c), values[c]);
    }
    const double magnitude = ReachOf(problem_, r).magnitude;
    AddRow(row,
           std::isfinite(limit.low) ? scaling.Apply(Loosened(limit.low, -1, magnitude))
                                    : -COIN_DBL_MAX,
           std::isfinite(limit.high) ? scaling.Apply(Loosened(limit.high, 1, magnitude))
                                     : COIN_DBL_MAX);
  }

  void AddRow(const CoinPackedVector& row, double low, double high) {
    matrix_.setDimensions(-1, static_cast<int>(columns_.size()));
    matrix_.appendRow(row);
    row_low_.push_back(low);
    row_high_.push_back(high);
  }

  const MipProblem& problem_;
  std::vector<Column> columns_;
  std::vector<int> first_column_;  // per group, and the end
  Scaling objective_scaling_;
  std::vector<double> objective_;
  CoinPackedMatrix matrix_{/*colordered=*/false, 0, 0};
  std::vector<double> row_low_, row_high_;
};

// Ends the search when the caller asks for it.
class StopHandler : public CbcEventHandler {
 public:
  explicit StopHandler(const std::function<bool()>* should_stop) : should_stop_(should_stop) {}

  CbcAction event(CbcEvent) override {
    return *should_stop_ && (*should_stop_)() ? stop : noAction;
  }
  [[nodiscard]] CbcEventHandler* clone() const override { return new StopHandler(*this); }

 private:
  const std::function<bool()>* should_stop_;
};

// CbcMain0/1, the ready-made driver with its preprocessing, prints and keeps global state; these
// cuts and heuristics are what pays on a few knapsack rows over many small groups.
void BranchAndCut(CbcModel& model, double time_limit_s, double cutoff) {
  CglProbing probing;
  probing.setMaxPass(1);
  CglKnapsackCover cover;
  CglGomory gomory;
  CglMixedIntegerRounding2 rounding_cuts;
  model.addCutGenerator(&probing, -1, "probing");
  model.addCutGenerator(&cover, -1, "cover");
  model.addCutGenerator(&gomory, -1, "gomory");
  model.addCutGenerator(&rounding_cuts, -1, "rounding");

  CbcRounding rounding(model);
  CbcHeuristicRINS neighbourhood(model);
  model.addHeuristic(&rounding);
  model.addHeuristic(&neighbourhood);

  model.setIntegerTolerance(kSolverTolerance);
  model.setAllowableGap(0);
  model.setAllowableFractionGap(0);
  model.setCutoffIncrement(kSolverTolerance);  // the default, 1e-5, skips better choices
  if (std::isfinite(cutoff)) model.setCutoff(cutoff);
  model.setUseElapsedTime(true);
  model.setMaximumSeconds(time_limit_s);
  model.branchAndBound();
}

MipSolution Solve(const MipProblem& problem, const MipClock& clock, double cutoff) {
  MipSolution result;
  BinaryProgram program(problem);
  // CBC keeps rows to a tolerance of its own, coarser than ours where a limit is tiny compared
  // with the costs. A choice that slipped through is excluded, and the search repeated.
  while (clock.left_s() > 0) {
    OsiClpSolverInterface solver;
    solver.messageHandler()->setLogLevel(0);
    solver.getModelPtr()->setLogLevel(0);
    solver.setDblParam(OsiPrimalTolerance, kSolverTolerance);
    solver.setDblParam(OsiDualTolerance, kSolverTolerance);
    program.Load(solver);
    CbcModel model(solver);
    model.setLogLevel(0);
    StopHandler stop_handler(&clock.should_stop());
    model.passInEventHandler(&stop_handler);
    BranchAndCut(model, clock.left_s(), program.objective_scaling().Apply(cutoff));

    if (model.isProvenInfeasible()) {
      result.status = SolveStatus::kInfeasible;
      return result;
    }
    result.bound = program.objective_scaling().Undo(std::max(0.0, model.getBestPossibleObjValue()));
    if (model.bestSolution() == nullptr) return result;
    std::vector<int> choice = program.ChoiceOf(model.bestSolution());
    std::vector<double> totals = ChoiceTotals(problem, choice);
    if (!WithinLimits(problem, totals)) {
      program.Exclude(choice);
      continue;
    }
    result.status = model.isProvenOptimal() ? SolveStatus::kOptimal : SolveStatus::kFeasible;
    result.objective = ChoiceScore(problem, choice);
    result.choice = std::move(choice);
    result.totals = std::move(totals);
    return result;
  }
  return result;
}

}  // namespace

// The module's one entry.
extern "C" void PuzzleSolveWithCbc(const MipProblem* problem, const MipClock* clock, double cutoff,
                                   MipSolution* solution) {
  *solution = Solve(*problem, *clock, cutoff);
}

}  // namespace puzzle
