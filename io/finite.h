// Whether numbers are finite, at the speed of the memory. Thread-safe (pure).
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

namespace puzzle {

/// The index of the first NaN or infinity; values.size() when there is none.
[[nodiscard]] inline size_t FirstNotFinite(std::span<const float> values) {
  constexpr uint32_t kExponent = 0x7F80'0000;
  const auto is_finite = [](float value) {
    return (std::bit_cast<uint32_t>(value) & kExponent) != kExponent;
  };
  // Nearly always all of them are: a loop without a way out is one of vectors.
  uint32_t bad = 0;
  for (const float value : values) bad |= is_finite(value) ? 0U : 1U;
  if (bad == 0) return values.size();
  return static_cast<size_t>(std::find_if_not(values.begin(), values.end(), is_finite) -
                             values.begin());
}

}  // namespace puzzle
