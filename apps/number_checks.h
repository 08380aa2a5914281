// Checks of numbers on the command line. CLI11's own name the largest double there is in their
// messages. Thread-safe.
#pragma once

#include <CLI/CLI.hpp>
#include <cmath>
#include <string>

namespace puzzle {

/// A finite number of at least 0, or above 0.
inline CLI::Validator FiniteNumber(bool zero_allowed) {
  return {[zero_allowed](std::string& text) -> std::string {
            double value = 0;
            const bool good = CLI::detail::lexical_cast(text, value) && std::isfinite(value) &&
                              (zero_allowed ? value >= 0 : value > 0);
            return good ? ""
                        : "expected a number " +
                              std::string(zero_allowed ? "of at least 0" : "above 0") + ", got " +
                              text;
          },
          zero_allowed ? "NONNEGATIVE" : "POSITIVE"};
}
inline CLI::Validator Positive() {
  return FiniteNumber(false);
}
inline CLI::Validator NotNegative() {
  return FiniteNumber(true);
}

}  // namespace puzzle
