// Sub-blocks that add nothing, for files that must have one. Thread-safe (pure functions).
#pragma once

#include "model/weights.h"

namespace puzzle {

/// Slots of `weights` that `outline` has and they have not become zeros, and norms in front of them
/// ones; slots that `outline` has not are emptied. One number in memory, whatever the shape.
void FillWithZeros(SubBlockWeights& weights, SubBlockWeights outline);

}  // namespace puzzle
