#include "nodes/measure/verdict.h"

#include <algorithm>
#include <string>
#include <vector>

#include "nodes/measure/claims.h"
#include "nodes/measure/report.h"

namespace puzzle {

ReportText RunVerdict(const VerdictParams& params, const Inputs& inputs, RunContext&) {
  std::vector<Evaluation> rows;
  for (const auto& input : inputs.List<Evaluation>("rows")) rows.push_back(*input.Load());
  std::stable_sort(rows.begin(), rows.end(),
                   [](const Evaluation& a, const Evaluation& b) { return a.label < b.label; });
  std::string text = params.finding + '\n' +
                     JudgeClaims(ReadClaims(params.better), params.metric, rows) + '\n' +
                     EvaluationTable(rows);
  if (const std::string tasks = TasksOfRows(rows); !tasks.empty()) text += '\n' + tasks;
  return {text, {}};
}

}  // namespace puzzle
