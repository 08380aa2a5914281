// What a search can minimise: the names of what scores measure. Thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/measure/artifacts.h"

namespace puzzle {

/// Those of scores whose `tasks` were connected.
inline constexpr std::string_view kTaskAccuracy = "task_accuracy";
inline constexpr std::string_view kTaskKl = "task_kl";

/// The objectives of AllMetrics(), which every score has, then those of tasks.
[[nodiscard]] std::vector<std::string> ScoreObjectives();
/// The mean increase that `score` measured; nothing when it did not look. REQUIRES: one of
/// ScoreObjectives().
[[nodiscard]] std::optional<double> IncreaseOf(const Score& score, std::string_view objective);

}  // namespace puzzle
