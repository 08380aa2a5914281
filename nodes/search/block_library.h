// Block libraries as JSON, the form in which NVlabs published the one of Llama-3.3-70B: per layer,
// variants of whole blocks with their costs ("stats") and qualities ("metrics").
//
//   {"layer_0": {"attention = ...\t&&\tffn = ...": {"stats": {"memory_mib": 1437.1, ...},
//                                                  "metrics": {"kl_div": 0, ...}}, ...}, ...}
//
// The first variant of a layer is the parent's own block. Next to it may lie measurement_info.json
// {"batch_size", "sequence_length", and, from us, "non_block_stats": what embeddings and head
// cost}. Thread-safe.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "nodes/search/variant_table.h"

namespace puzzle {

/// Throws Error "file:line:col: ..." when the file is not such a library: layers that are not
/// layer_0, layer_1, ... without gaps, a variant without stats or metrics, more than 256 different
/// metrics, a cost that is missing, negative or no number. Layers that differ in their variants are
/// named through `warn`.
[[nodiscard]] VariantTable ReadBlockLibrary(const std::string& path,
                                            const std::function<void(const std::string&)>& warn);

/// The files of a library by name: block_library.json, parent_block_stats.json and
/// measurement_info.json. Variants that lack a metric are written without it.
/// REQUIRES: one group per layer.
[[nodiscard]] std::map<std::string, std::string> WriteBlockLibrary(const VariantTable& table);

}  // namespace puzzle
