// How much of a student a global distillation trains, counted from shapes before there are weights:
// TrainedParts (nodes/train/trained_parts.h) as numbers. Needs no libtorch. Thread-safe (pure
// functions).
#pragma once

#include <cstdint>

#include "model/shape/config.h"
#include "nodes/train/kinds.h"

namespace puzzle {

struct TrainedShare {
  double parameters = 0;    // of the optimizer
  double matrices = 0;      // parameters of blocks of which gradients are computed
  int64_t first_layer = 0;  // gradients of states are computed down to it
  bool head = false;        // and of the vocabulary's matrix
};

/// By `params.train`. Where the shapes tell no sub-block that changed, as of a child whose search
/// has not run, all may have.
[[nodiscard]] TrainedShare ShareOf(const GkdParams& params, const ModelConfig& teacher,
                                   const ModelConfig& student);

}  // namespace puzzle
