// `speed_report`: what children keep of their parent's quality and how much faster they write, in
// one table, and the two sentences that the paper is known by: the speed-up at so much of the
// accuracy, and the accuracy at such a speed-up.
#pragma once

#include <string>
#include <vector>

#include "graph/kind/kind.h"
#include "nodes/cost/bench.h"
#include "nodes/cost/kinds.h"
#include "nodes/measure/artifacts.h"

namespace puzzle {

/// A line per evaluation, the parent's (that was not measured against one) first, then from large
/// to small; columns per batch size of `benches`, which belong to evaluations by their labels and
/// were measured beside the parent; `memory` is what weights, cache and buffers take of the
/// parent's in the same bench. Behind it the sentences, about the batch size `params.batch`, and
/// how far predicted speed-ups are from measured ones. Throws Error when there is no parent, when
/// an evaluation has no tasks or others than the parent, when a bench has no parent, no evaluation
/// (or two) or no batch of its own, and when nothing was measured at `params.batch`.
[[nodiscard]] std::string SpeedTable(const SpeedReportParams& params,
                                     std::vector<Evaluation> evaluations,
                                     const std::vector<Bench>& benches);

[[nodiscard]] ReportText RunSpeedReport(const SpeedReportParams& params, const Inputs& inputs,
                                        RunContext& context);

}  // namespace puzzle
