// Metrics with a given mean, of tokens that are all alike.
#pragma once

#include "model/shape/metrics.h"

namespace puzzle {

inline TokenMetrics MetricsWith(Metric metric, double mean, int64_t tokens = 10) {
  TokenMetrics metrics;
  metrics.tokens = tokens;
  const auto row = static_cast<size_t>(metric);
  metrics.sum[row] = mean * static_cast<double>(tokens);
  metrics.squares[row] = mean * metrics.sum[row];
  return metrics;
}

}  // namespace puzzle
