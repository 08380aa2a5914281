#include "apps/frame/number_checks.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <string>

namespace puzzle {
namespace {

CLI::Validator FiniteNumber(bool zero_allowed) {
  return {[zero_allowed](std::string& text) -> std::string {
            double value = 0;
            if (CLI::detail::lexical_cast(text, value) && std::isfinite(value) &&
                (value > 0 || (zero_allowed && value == 0))) {
              return "";
            }
            return fmt::format("expected a number {}, got {}",
                               zero_allowed ? "of at least 0" : "above 0", text);
          },
          zero_allowed ? "NOT NEGATIVE" : "POSITIVE"};
}

}  // namespace

CLI::Validator Positive() {
  return FiniteNumber(/*zero_allowed=*/false);
}

CLI::Validator NotNegative() {
  return FiniteNumber(/*zero_allowed=*/true);
}

}  // namespace puzzle
