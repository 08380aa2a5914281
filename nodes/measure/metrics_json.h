// Sums over tokens in archives: what artifacts of this room and of others store the same way.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "model/shape/metrics.h"

namespace puzzle {

/// The sums, from which means follow.
[[nodiscard]] nlohmann::json ToJson(const TokenMetrics& metrics);
[[nodiscard]] TokenMetrics MetricsFromJson(const nlohmann::json& json);

}  // namespace puzzle
