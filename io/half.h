// Many numbers at a time between fp32 and the two 16-bit formats, bit for bit as F16FromF32 and its
// kin (io/safetensors.h) convert one, in loops of vectors. 16-bit numbers need no alignment.
// Thread-safe (pure).
#pragma once

#include <cstddef>
#include <span>

namespace puzzle {

/// Round to nearest even, too large becomes infinity. REQUIRES: `out` has room for as many.
void NarrowToF16(std::span<const float> values, void* out);
void NarrowToBF16(std::span<const float> values, void* out);
/// REQUIRES: `values` holds as many as `out`.
void WidenF16(const void* values, std::span<float> out);
void WidenBF16(const void* values, std::span<float> out);

/// The index of the first finite number that is infinite in the format; values.size() when there is
/// none.
[[nodiscard]] size_t FirstTooLargeForF16(std::span<const float> values);
[[nodiscard]] size_t FirstTooLargeForBF16(std::span<const float> values);

}  // namespace puzzle
