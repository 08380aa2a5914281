// Sizes and time spans as people write and read them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace puzzle {

/// "1.2 GiB", "340 KiB", "12 bytes".
[[nodiscard]] std::string SizeText(uint64_t bytes);
/// "20G", "1.5GiB", "500M", "4096": binary multiples; nullopt when it is none.
[[nodiscard]] std::optional<uint64_t> ParseSize(const std::string& text);
/// "30d", "12h", "45m", "2w", "90s", in seconds; nullopt when it is none.
[[nodiscard]] std::optional<double> ParseSpan(const std::string& text);
/// 0.4s, 41s, 14m02s, 3h12m.
[[nodiscard]] std::string DurationText(double seconds);
/// "just now", "45m", "12h", "30d": how long ago something was.
[[nodiscard]] std::string AgeText(double seconds);

}  // namespace puzzle
