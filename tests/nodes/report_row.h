// What tests of reports show a row of.
#pragma once

#include <cstdint>
#include <string>

#include "nodes/measure/artifacts.h"
#include "tests/nodes/token_metrics.h"

namespace puzzle {

/// Compared with a parent where `kl` is not negative.
inline Evaluation ReportRow(const std::string& label, int64_t block_parameters, double kl = -1) {
  Evaluation row;
  row.label = label;
  row.block_parameters = block_parameters;
  row.has_kl = kl >= 0;
  row.metrics = MetricsWith(Metric::kKl, row.has_kl ? kl : 0, 100);
  return row;
}

}  // namespace puzzle
