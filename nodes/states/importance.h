// `importance`: which FFN channels and kv heads of the parent matter (model/importance.h).
#pragma once

#include "graph/kind/kind.h"
#include "nodes/states/artifacts.h"
#include "nodes/states/kinds.h"

namespace puzzle {

[[nodiscard]] Importance RunImportance(const ImportanceParams& params, const Inputs& inputs,
                                       RunContext& context);

}  // namespace puzzle
