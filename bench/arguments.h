// Arguments of programs that measure, and their exit status.
#pragma once

#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <exception>
#include <functional>
#include <string_view>
#include <system_error>

#include "io/error.h"

namespace puzzle {

/// A main's.
struct Arguments {
  int argc;
  char** argv;

  /// The whole number at `index`, at least `least`; `otherwise` where there are fewer arguments.
  /// Throws Error when something else stands there.
  [[nodiscard]] int Number(int index, int otherwise, int least = 1) const {
    if (index >= argc) return otherwise;
    const std::string_view text = argv[index];
    int number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size() || number < least)
      throw Error(fmt::format("\"{}\": expected a whole number from {} on", text, least));
    return number;
  }
};

/// What a main returns: 0 when `measure` came to its end; else 1, and why is said.
inline int ExitStatusOf(const std::function<void()>& measure) {
  try {
    measure();
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}

}  // namespace puzzle
