// All kinds of the program: a line per room. To add a kind, add it to its room (CONTRIBUTING.md,
// "Adding a kind"); these lists stay as they are.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "graph/kind/kind.h"

namespace puzzle {

/// The tables: enough to check, plan and draw graphs; without libtorch.
[[nodiscard]] std::vector<NodeKind> PuzzleKinds();
/// The functions behind them, by kind; needs libtorch. Its errors lose their stack traces on the
/// way, but for those about memory, which keep their type.
[[nodiscard]] std::map<std::string, Body> PuzzleBodies();

}  // namespace puzzle
