#include "nodes/cost/timing.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "io/error.h"

namespace puzzle {

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

Timing Summarize(std::vector<Round> rounds) {
  PUZZLE_CHECK(!rounds.empty(), "no rounds");
  std::ranges::sort(rounds, {}, &Round::took_s);
  rounds.resize((rounds.size() + 3) / 4);
  std::vector<double> values;
  for (const Round& round : rounds) values.push_back(round.value_s);
  const double median = Median(values);
  for (double& value : values) value = std::abs(value - median);
  return {1e3 * std::max(median, 0.0), 1e3 * 1.4826 * Median(std::move(values))};
}

}  // namespace puzzle
