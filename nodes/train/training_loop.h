// What trainings share. The steps of a whole model's: batches in a shuffled order, AdamW on a
// cosine schedule, and save points, from which a training that was stopped goes on as if it had not
// been.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "graph/kind/kind.h"
#include "model/math/optim.h"
#include "nodes/train/best_state.h"
#include "nodes/train/kinds.h"

namespace puzzle {

/// The optimizer's part of a save point.
void SaveOptimizer(const AdamW& optimizer, ArchiveWriter& out);
void RestoreOptimizer(const ArchiveReader& in, AdamW& optimizer);

struct TrainingLoop {
  std::string what;  // "pretraining", for complaints
  int64_t steps = 0;
  int64_t sequences = 0;  // to choose from
  uint64_t seed = 0;      // of their order
  double final_ratio = 0;
  BestState* best =
      nullptr;  // considered before the first step, after the last, and evenly between
  int64_t considerations = 5;  // behind the first
  int64_t patience = 0;        // ends after so many of them without a better state; 0: never
  /// What is said behind a loss that is not finite; may be empty.
  std::function<std::string()> blame = {};
};

/// Runs the steps that are still to be made. `backward` adds a batch's gradients to those of the
/// optimizer's parameters and returns its loss. Returns the loss, smoothed over the last steps.
/// With `best` its state is put back at the end; a loss or gradient that is not finite then ends
/// the training with a warning, without one it is an Error. REQUIRES: what `backward` does depends
/// on the parameters and the rows alone.
double RunTrainingLoop(const TrainingLoop& loop, const TrainingParams& params, AdamW& optimizer,
                       RunContext& context,
                       const std::function<double(const std::vector<int64_t>& rows)>& backward);

}  // namespace puzzle
