#include "graph/view/svg.h"

#include <fmt/format.h>

#include <cmath>

#include "io/utf8.h"

namespace puzzle {

std::string XmlText(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const size_t length = Utf8Length(text);
    const auto c = static_cast<unsigned char>(text.front());
    if (length == 0 || (c < 0x20 && c != '\n' && c != '\t')) {
      result += '?';
    } else if (c == '<') {
      result += "&lt;";
    } else if (c == '>') {
      result += "&gt;";
    } else if (c == '&') {
      result += "&amp;";
    } else if (c == '"') {
      result += "&quot;";
    } else {
      result.append(text, 0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return result;
}

std::string Base64(std::string_view bytes) {
  static constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t word = 0;
    for (size_t k = 0; k < 3; ++k) {
      word = word << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0);
    }
    for (size_t k = 0; k < 4; ++k) {
      text += i + k > bytes.size() ? '=' : kDigits[word >> (18 - 6 * k) & 63];
    }
  }
  return text;
}

std::string NodeColor(size_t n) {
  // Steps of the golden angle keep any two neighbours apart.
  const double hue = std::fmod(210.0 + 137.508 * static_cast<double>(n), 360.0);
  return fmt::format("hsl({:.0f},{}%,{}%)", hue, n % 3 == 1 ? 45 : 60, n % 2 == 0 ? 70 : 78);
}

std::string Shortened(std::string_view text, size_t columns) {
  if (text.size() <= columns) return std::string(text);
  size_t end = columns > 3 ? columns - 3 : 0;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return std::string(text.substr(0, end)) + "...";
}

}  // namespace puzzle
