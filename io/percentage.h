// Percentages as people write them. Thread-safe.
#pragma once

#include <optional>
#include <string_view>

namespace puzzle {

/// 0.7 for "70%"; nullopt for what is no percentage, or below zero.
[[nodiscard]] std::optional<double> ParsePercentage(std::string_view text);

}  // namespace puzzle
