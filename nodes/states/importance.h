// `importance`: which FFN channels and kv heads of the parent matter (model/importance.h).
#pragma once

#include "graph/kind/node.h"
#include "nodes/artifacts.h"
#include "nodes/params.h"

namespace puzzle {

[[nodiscard]] Importance RunImportance(const ImportanceParams& params, const Inputs& inputs,
                                       RunContext& context);

}  // namespace puzzle
