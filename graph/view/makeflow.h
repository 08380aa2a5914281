// A plan for Makeflow, which hands rules to Work Queue, PBS, SGE, HTCondor or Slurm. Thread-safe.
#pragma once

#include <functional>
#include <string>

#include "graph/plan/plan.h"

namespace puzzle {

/// A rule per step, in Makeflow's JSON (`makeflow --json`): its classic form changes backslashes,
/// JSON carries every name as it is. A rule runs `command(name of the step)` by the shell and
/// leaves the empty file "NUMBER.NODE.done" where Makeflow works; results themselves are in the
/// store.
[[nodiscard]] std::string MakeflowJson(
    const Plan& plan, const std::function<std::string(const std::string&)>& command);

}  // namespace puzzle
