// Arguments of programs that measure.
#pragma once

#include <algorithm>
#include <cstdlib>

namespace puzzle {

/// A main's.
struct Arguments {
  int argc;
  char** argv;

  /// The number at `index`, at least 1; `otherwise` where there are fewer.
  [[nodiscard]] int Number(int index, int otherwise) const {
    return argc > index ? std::max(1, std::atoi(argv[index])) : otherwise;
  }
};

}  // namespace puzzle
