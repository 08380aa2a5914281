// `report`: what a run found, as text.
#pragma once

#include <string>
#include <vector>

#include "graph/node.h"
#include "nodes/artifacts.h"
#include "nodes/params.h"

namespace puzzle {

/// A table of models: parameters, weights, NLL, KL, top-1/5/10.
[[nodiscard]] std::string EvaluationTable(const std::vector<Evaluation>& rows);

/// The table, rows in `params.order` (others behind, by label), the chosen architecture, a sample
/// of each model that has one, and where the files are.
[[nodiscard]] ReportText RunReport(const ReportParams& params, const Inputs& inputs,
                                   RunContext& context);

}  // namespace puzzle
