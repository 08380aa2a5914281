// The tensors behind model/files/stored_heads.h: query heads, and kv heads where need be, filled up
// with zeros for checkpoint folders, and cut back. Thread-safe (pure functions).
#pragma once

#include <string>

#include "model/weights.h"

namespace puzzle {

/// The same model in its stored shape. Shares storage where nothing changes; what is unread
/// (model/unread.h) is filled up when it is read.
[[nodiscard]] ModelWeights PadHeads(const ModelWeights& model);

/// From the stored shape of `config` to the real one. Throws Error (`where` first) when o_proj has
/// values where `config` has no heads: somebody trained them.
[[nodiscard]] ModelWeights CutPadding(const ModelWeights& stored, const ModelConfig& config,
                                      const std::string& where);

}  // namespace puzzle
