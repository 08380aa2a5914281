// `report`: what a run found, as text.
#pragma once

#include <string>
#include <vector>

#include "graph/kind/kind.h"
#include "nodes/measure/artifacts.h"
#include "nodes/measure/kinds.h"

namespace puzzle {

/// A table of models: parameters, weights, NLL, KL, top-1/5/10.
[[nodiscard]] std::string EvaluationTable(const std::vector<Evaluation>& rows);

/// What was answered in each task; preserved shares where a row was not measured against a parent,
/// and so is one. Empty where nothing was asked.
[[nodiscard]] std::string TasksOfRows(const std::vector<Evaluation>& rows);

/// Measured KL against the size of the blocks, a curve per series, with standard errors; empty if
/// no row names a series.
[[nodiscard]] std::string EvaluationPicture(const std::vector<Evaluation>& rows,
                                            const ReportParams& params);

/// The table and picture, rows in `params.order` (others behind, by label; namesakes as the port
/// gives them), the chosen architecture, a sample of each model that has one, and where the files
/// are.
[[nodiscard]] ReportText RunReport(const ReportParams& params, const Inputs& inputs,
                                   RunContext& context);

}  // namespace puzzle
