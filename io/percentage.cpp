#include "io/percentage.h"

#include <charconv>
#include <cmath>

namespace puzzle {

std::optional<double> ParsePercentage(std::string_view text) {
  double percent = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, percent);
  const bool is_one = error == std::errc() && std::string_view(rest, end - rest) == "%" &&
                      percent >= 0 && std::isfinite(percent);
  return is_one ? std::optional(percent / 100) : std::nullopt;
}

}  // namespace puzzle
