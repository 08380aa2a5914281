// `export`: a checkpoint as a Hugging Face folder.
#pragma once

#include "graph/kind/kind.h"
#include "nodes/data/artifacts.h"
#include "nodes/data/kinds.h"

namespace puzzle {

/// Writes the folder (see model/files/checkpoint.h) and says what is in it.
[[nodiscard]] ExportManifest RunExport(const ExportParams& params, const Inputs& inputs,
                                       RunContext& context);

}  // namespace puzzle
