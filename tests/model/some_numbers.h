// Reproducible numbers for tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "io/random.h"

namespace puzzle {

/// Between -1 and 1, evenly spread; the same for the same seed.
inline std::vector<float> SomeNumbers(int64_t count, uint64_t seed) {
  Random random(seed);
  std::vector<float> numbers(static_cast<size_t>(count));
  for (float& x : numbers) x = static_cast<float>(2 * random.Uniform() - 1);
  return numbers;
}

}  // namespace puzzle
