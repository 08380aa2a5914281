// How fast this machine multiplies, measured in a few milliseconds without a BLAS: what `plan` has
// to know before anything ran.
#pragma once

#include "graph/plan/workload.h"

namespace puzzle {

/// Multiplies and adds in registers on one core, and scales that to products of this program on all
/// cores that it may use: below the peak of the registers, since matrices have to be fetched. The
/// best of several tries, so that other programs disturb it little. Takes about 20 ms.
[[nodiscard]] MachineSpeed MeasureMachineSpeed();

}  // namespace puzzle
