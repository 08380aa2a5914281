#include "model/shape/metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace puzzle {
namespace {

// By definition: a ratio of sums R = sum a / sum b has the error of the mean of a - R b, over that
// of b.
TEST(MetricsTest, TheErrorOfARatioOfSumsIsThatOfItsResiduals) {
  const std::vector<double> a = {1, 2, 4, 3}, b = {2, 3, 4, 5};
  const auto row = static_cast<size_t>(Metric::kNmseTensor);
  TokenMetrics metrics;
  for (size_t i = 0; i < a.size(); ++i) {
    TokenMetrics one;
    one.tokens = 1;
    one.sum[row] = a[i];
    one.squares[row] = a[i] * a[i];
    one.sum[kParentEnergyRow] = b[i];
    one.squares[kParentEnergyRow] = b[i] * b[i];
    one.nmse_products = a[i] * b[i];
    metrics += one;
  }
  const double ratio = 10.0 / 14;
  EXPECT_DOUBLE_EQ(metrics.Mean(Metric::kNmseTensor), ratio);
  double squares = 0;
  for (size_t i = 0; i < a.size(); ++i) squares += std::pow(a[i] - ratio * b[i], 2);
  EXPECT_NEAR(metrics.Error(Metric::kNmseTensor), std::sqrt(squares / 3 / 4) / (14.0 / 4), 1e-12);
  EXPECT_EQ(TokenMetrics{.tokens = 3}.Error(Metric::kNmseTensor), 0) << "without a parent";
}

TEST(MetricsTest, TheErrorOfAMeanIsThatOfItsValues) {
  TokenMetrics metrics;
  metrics.tokens = 4;
  metrics.sum[0] = 1 + 2 + 4 + 5;
  metrics.squares[0] = 1 + 4 + 16 + 25;
  EXPECT_DOUBLE_EQ(metrics.Mean(Metric::kKl), 3);
  EXPECT_NEAR(metrics.Error(Metric::kKl), std::sqrt((4 + 1 + 1 + 4) / 3.0 / 4), 1e-12);
}

}  // namespace
}  // namespace puzzle
