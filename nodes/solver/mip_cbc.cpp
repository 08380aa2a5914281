#include "nodes/solver/mip_cbc.h"

#include "io/module.h"

namespace puzzle {

MipSolution SolveWithCbc(const MipProblem& problem, const MipClock& clock, double cutoff) {
  using Entry = void (*)(const MipProblem*, const MipClock*, double, MipSolution*);
  static const auto solve =
      reinterpret_cast<Entry>(ModuleSymbol("puzzle_cbc", "PuzzleSolveWithCbc"));
  MipSolution solution;
  solve(&problem, &clock, cutoff, &solution);
  return solution;
}

}  // namespace puzzle
