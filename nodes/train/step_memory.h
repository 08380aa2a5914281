// What a step of global distillation takes beside the models: whether blocks are computed again for
// their gradients, and whether a batch fits at all. Thread-safe (pure functions).
#pragma once

#include <cstdint>

#include "model/shape/config.h"

namespace puzzle {

/// A step of `gkd` on the CPU.
struct StepShape {
  int64_t batch = 1;       // sequences
  int64_t length = 1;      // of a sequence
  int64_t parts = 1;       // into which a batch is split
  int64_t threads = 1;     // how many of them are in work at once, at most
  int64_t parameters = 0;  // of the student
  bool fused = false;      // its blocks are FusedBlocks: products in bf16, of rounded matrices
  bool stored = false;     // what a file holds of its weights is there beside them (StoredStudent)
};

/// Bytes, about: the teacher's states, what blocks keep (or, `recompute`, their inputs and one
/// block's), what a file holds, rounded matrices, logits, and gradients of parts.
[[nodiscard]] double StepBytes(const ModelConfig& student, const StepShape& shape, bool recompute);

/// Whether blocks are better computed again where `free` bytes are left: where what they keep would
/// take more than a quarter of it. 0 bytes: unknown, and no.
[[nodiscard]] bool WantsRecompute(const ModelConfig& student, const StepShape& shape,
                                  uint64_t free);

/// Throws Error when such a step takes more than `free` bytes: names the largest batch that does
/// not. 0 bytes: unknown, and anything fits.
void CheckBatchFits(const ModelConfig& student, const StepShape& shape, bool recompute,
                    uint64_t free);

}  // namespace puzzle
