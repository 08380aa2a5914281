// All kinds of the pipeline as tables: what can be written in a graph. Needs no libtorch.
#pragma once

#include <vector>

#include "graph/kind/node.h"

namespace puzzle {

[[nodiscard]] std::vector<NodeKind> PuzzleKinds();

}  // namespace puzzle
