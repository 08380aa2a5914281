// What attention multiplies its scores by. Thread-safe (a pure function).
#pragma once

#include "model/shape/config.h"

namespace puzzle::block {

/// The factor of products of queries and keys.
[[nodiscard]] double ScoreScale(const ModelConfig& config);

}  // namespace puzzle::block
