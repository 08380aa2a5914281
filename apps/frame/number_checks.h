// Checks of numbers on the command line. CLI11's own name the largest double there is in their
// messages. Thread-safe.
#pragma once

namespace CLI {
class Validator;
}

namespace puzzle {

/// A finite number above 0.
[[nodiscard]] CLI::Validator Positive();
/// A finite number of at least 0.
[[nodiscard]] CLI::Validator NotNegative();

}  // namespace puzzle
