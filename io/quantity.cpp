#include "io/quantity.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>

namespace puzzle {
namespace {

/// Takes a number off the front of `text`.
std::optional<double> TakeNumber(std::string_view& text) {
  double number = 0;
  const auto result =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (result.ec != std::errc() || !(number >= 0)) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(result.ptr - text.data()));
  return number;
}

}  // namespace

std::string SizeText(uint64_t bytes) {
  if (bytes < 1024) return fmt::format("{} byte{}", bytes, bytes == 1 ? "" : "s");
  auto value = static_cast<double>(bytes);
  std::string_view units = "KMGTPE";
  value /= 1024;
  while (value >= 1023.95 && units.size() > 1) {
    value /= 1024;
    units.remove_prefix(1);
  }
  return fmt::format("{:.1f} {}iB", value, units.front());
}

std::optional<uint64_t> ParseSize(const std::string& text) {
  constexpr std::string_view kUnits = "KMGT";
  std::string_view rest = text;
  const auto number = TakeNumber(rest);
  if (!number) return std::nullopt;
  double factor = 1;
  if (!rest.empty() && kUnits.find(rest.front()) != std::string_view::npos) {
    factor = std::pow(1024.0, static_cast<double>(kUnits.find(rest.front()) + 1));
    rest.remove_prefix(1);
    if (rest == "iB" || rest == "B") rest = {};
  } else if (rest == "B") {
    rest = {};
  }
  const double bytes = *number * factor;
  if (!rest.empty() || bytes >= 9e18) return std::nullopt;
  return static_cast<uint64_t>(bytes);
}

std::optional<double> ParseSpan(const std::string& text) {
  std::string_view rest = text;
  const auto number = TakeNumber(rest);
  if (!number) return std::nullopt;
  if (rest == "s") return *number;
  if (rest == "m") return *number * 60;
  if (rest == "h") return *number * 3600;
  if (rest == "d") return *number * 86400;
  if (rest == "w") return *number * 7 * 86400;
  return std::nullopt;
}

std::string DurationText(double seconds) {
  seconds = std::max(seconds, 0.0);
  if (seconds < 9.95) return fmt::format("{:.1f}s", seconds);
  const auto whole = static_cast<int64_t>(seconds + 0.5);
  if (whole < 60) return fmt::format("{}s", whole);
  if (whole < 3600) return fmt::format("{}m{:02}s", whole / 60, whole % 60);
  return fmt::format("{}h{:02}m", whole / 3600, whole % 3600 / 60);
}

std::string AgeText(double seconds) {
  if (seconds < 60) return "just now";
  if (seconds < 3600) return fmt::format("{:.0f}m", std::floor(seconds / 60));
  if (seconds < 2 * 86400) return fmt::format("{:.0f}h", std::floor(seconds / 3600));
  return fmt::format("{:.0f}d", std::floor(seconds / 86400));
}

}  // namespace puzzle
