// What a blockwise distillation takes on the CPU beside its data, counted from shapes, and how it
// does with less: to the same bits in any way. Thread-safe (pure functions).
#pragma once

#include <cstdint>

#include "model/shape/variant.h"
#include "nodes/train/kinds.h"

namespace puzzle {

struct TrainingShape {
  double parameters = 0;
  bool in_bf16 = false;  // the products of a step
  int64_t parts = 1;     // into which a batch is split
  int64_t threads = 1;   // how many of them are in work at once, at most
  double between = 0;    // bytes of states and gradients between the matrices of a part
};
/// Of batches of sequences of `length` tokens. `in_bf16` is what `params.compute` comes to.
[[nodiscard]] TrainingShape TrainingShapeOf(const VariantSpec& variant, const ModelConfig& parent,
                                            const BldParams& params, bool in_bf16, int64_t length,
                                            int64_t threads);

/// How a variant is trained.
struct TrainingWay {
  bool in_files = false;       // parameters, moments and the best state lie in mapped files
  bool one_at_a_time = false;  // one part of a batch in work, whatever the threads
};
/// Bytes of memory, about, files' pages left out.
[[nodiscard]] double TrainingBytes(const TrainingShape& shape, const TrainingWay& way);
/// The fastest way that takes at most `limit` bytes, else the one that takes least.
[[nodiscard]] TrainingWay ChooseTrainingWay(const TrainingShape& shape, double limit);

}  // namespace puzzle
