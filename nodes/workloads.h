// How much work the kinds' steps are, from what is known before anything runs: a checkpoint's
// shape, the length of a text, parameters. Needs no libtorch. Thread-safe.
#pragma once

#include "graph/plan/workload.h"

namespace puzzle {

/// The load of a step of one of PuzzleKinds(): products by counting, time beside them and memory by
/// experience. A child is taken to be as large as its parent, since its search has not run. Steps
/// whose length only their own data tell (commands, measurements of time, tasks) are not known.
[[nodiscard]] Workload WorkloadOf(const NodeKind& kind, const void* params,
                                  const PortWorkloads& inputs);

}  // namespace puzzle
