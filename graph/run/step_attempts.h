// Computes one step on one lane: the claim on its key, the attempts that its node allows, and what
// becomes of it when they fail. Thread-safe for different steps.
#pragma once

#include "graph/run/flight.h"
#include "graph/run/flow.h"
#include "graph/run/lanes.h"
#include "graph/run/run_scope.h"

namespace puzzle {

/// Fills in `flight` what computing the step gave: a product or a failure, or what another run has
/// made meanwhile. Never throws. REQUIRES: key and reason of `flight` are known; called on the
/// lane's thread.
[[nodiscard]] StepWork::Verdict ComputeStep(RunScope& run, StepId id, Lane& lane, Flight& flight);

}  // namespace puzzle
