#include "model/shape/metrics.h"

#include <algorithm>
#include <cmath>

namespace puzzle {

namespace {

size_t Row(Metric metric) {
  return static_cast<size_t>(metric);
}

// Of a mean, given the sum of squared deviations.
double StandardError(double deviations, int64_t tokens) {
  if (tokens < 2) return 0;
  const auto n = static_cast<double>(tokens);
  return std::sqrt(std::max(0.0, deviations) / (n * (n - 1)));
}

}  // namespace

std::span<const MetricInfo> AllMetrics() {
  static constexpr MetricInfo kAll[] = {
      {Metric::kKl, "kl", "kl", true},
      {Metric::kNll, "nll", "lm_loss"},
      {Metric::kCosine, "cosine", "cosine", true},
      {Metric::kNmse, "nmse", "nmse", true},
      {Metric::kNmseTensor, "nmse_tensor", "nmse_tensor", true},
      {Metric::kTop1, "token_accuracy_top_1", "token_accuracy_top_1"},
      {Metric::kTop5, "token_accuracy_top_5", "token_accuracy_top_5"},
      {Metric::kTop10, "token_accuracy_top_10", "token_accuracy_top_10"},
  };
  static_assert(std::size(kAll) == kParentEnergyRow);
  return kAll;
}

TokenMetrics& TokenMetrics::operator+=(const TokenMetrics& other) {
  tokens += other.tokens;
  for (size_t row = 0; row < kTokenRows; ++row) {
    sum[row] += other.sum[row];
    squares[row] += other.squares[row];
  }
  nmse_products += other.nmse_products;
  return *this;
}

double TokenMetrics::Mean(Metric metric) const {
  if (metric != Metric::kNmseTensor) return sum[Row(metric)] / static_cast<double>(tokens);
  const double energy = sum[kParentEnergyRow];
  return energy > 0 ? sum[Row(metric)] / energy : 0;  // without a parent both are 0
}

double TokenMetrics::Error(Metric metric) const {
  const double mean = Mean(metric), squared = squares[Row(metric)];
  if (metric != Metric::kNmseTensor)
    return StandardError(squared - mean * sum[Row(metric)], tokens);
  // Of a ratio of means a/b: that of a - b * ratio, which has the mean 0, over the mean of b.
  const double energy = sum[kParentEnergyRow];
  if (!(energy > 0)) return 0;
  const double deviations =
      squared - 2 * mean * nmse_products + mean * mean * squares[kParentEnergyRow];
  return StandardError(deviations, tokens) * static_cast<double>(tokens) / energy;
}

}  // namespace puzzle
