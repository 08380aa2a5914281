// `verdict`: a finding of a paper, and whether it was found here too.
#pragma once

#include "graph/kind/kind.h"
#include "nodes/measure/artifacts.h"
#include "nodes/measure/kinds.h"

namespace puzzle {

/// The finding, its claims (JudgeClaims), and the table of all rows by label, namesakes as the port
/// gives them.
[[nodiscard]] ReportText RunVerdict(const VerdictParams& params, const Inputs& inputs,
                                    RunContext& context);

}  // namespace puzzle
