// What verbs print. Text of graphs, models and other people's stores goes through io/printable.h on
// its way to a terminal, and a full disk behind standard output does not pass unnoticed.
// Thread-safe.
#pragma once

#include <fmt/format.h>

#include <string_view>
#include <utility>

namespace puzzle {

/// Writes to standard output, at once.
void PrintText(std::string_view text);
/// Likewise, at the latest when the command ends.
void PrintLater(std::string_view text);
/// Writes to standard error.
void SayText(std::string_view text);

template <class... Args>
void Print(fmt::format_string<Args...> format, Args&&... args) {
  PrintLater(fmt::format(format, std::forward<Args>(args)...));
}

/// A message to the user.
template <class... Args>
void Say(fmt::format_string<Args...> format, Args&&... args) {
  SayText(fmt::format(format, std::forward<Args>(args)...));
}

/// The exit code of a command that came to `code`: a failure, with a message, when something that
/// was printed is lost.
[[nodiscard]] int AfterPrinting(int code);

}  // namespace puzzle
