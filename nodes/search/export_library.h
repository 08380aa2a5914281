// `block_library`: scores and costs as the files that NVlabs published for Llama-3.3-70B.
#pragma once

#include "graph/kind/kind.h"
#include "nodes/data/artifacts.h"
#include "nodes/search/kinds.h"

namespace puzzle {

[[nodiscard]] ExportManifest RunBlockLibrary(const BlockLibraryParams& params, const Inputs& inputs,
                                             RunContext& context);

}  // namespace puzzle
