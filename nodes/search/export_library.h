// `block_library`: scores and costs in the form that NVlabs published for Llama-3.3-70B. Their
// notebook asks for more than that: kl_div, num_kv_heads, ffn_intermediate_size, times of attention
// and FFN apart, the gpu and the dtype.
#pragma once

#include "graph/kind/kind.h"
#include "nodes/data/artifacts.h"
#include "nodes/search/kinds.h"

namespace puzzle {

[[nodiscard]] ExportManifest RunBlockLibrary(const BlockLibraryParams& params, const Inputs& inputs,
                                             RunContext& context);

}  // namespace puzzle
