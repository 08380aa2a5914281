// Other people's text on a terminal: names, notes and messages from graphs, models and stores may
// hold control sequences that colour it, retitle it, or reverse what stands there. Thread-safe.
#pragma once

#include <string>
#include <string_view>

namespace puzzle {

/// `text` with control characters (C0, DEL, C1), line separators and what reorders text written as
/// \u001b, which is what JSON would write inside a string; malformed UTF-8 becomes U+FFFD. Line
/// breaks and tabs stay.
[[nodiscard]] std::string Printable(std::string_view text);
/// Likewise, in one line: line breaks and tabs are escaped as well.
[[nodiscard]] std::string PrintableLine(std::string_view text);

}  // namespace puzzle
