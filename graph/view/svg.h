// Pieces of SVG and HTML that pictures and reports share. Thread-safe.
#pragma once

#include <string>
#include <string_view>

namespace puzzle {

/// `text` with the characters escaped that mean something in XML, fit for content and attributes.
/// What is no valid UTF-8 or no character of XML becomes '?'.
[[nodiscard]] std::string XmlText(std::string_view text);

/// For "data:" addresses.
[[nodiscard]] std::string Base64(std::string_view bytes);

/// The colour of the n-th node: distinct for neighbours, readable under black text.
[[nodiscard]] std::string NodeColor(size_t n);

/// At most `columns` characters, the rest cut off and marked by "...".
[[nodiscard]] std::string Shortened(std::string_view text, size_t columns);

}  // namespace puzzle
