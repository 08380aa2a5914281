// The functions behind the tables of nodes/kinds.h. Needs libtorch.
#pragma once

#include <map>
#include <string>

#include "graph/kind/node.h"

namespace puzzle {

/// Body of every kind, by name.
[[nodiscard]] std::map<std::string, Body> PuzzleBodies();

}  // namespace puzzle
