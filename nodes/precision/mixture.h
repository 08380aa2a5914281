// Types of parts as people write them, on a command line and in a graph. Thread-safe (pure
// functions).
#pragma once

#include <string>
#include <vector>

#include "model/files/stored_parts.h"
#include "model/shape/config.h"

namespace puzzle {

/// "ffn=q4_0", "attn:3=q8_0", "embed=q8_0": PART=TYPE, PART being embed, head, or attn or ffn of
/// all layers or of one; where several name the same part, the last one counts. Throws Error for
/// what has another form, a part that the model does not have, and a type that no GGUF file is
/// written in.
[[nodiscard]] StoredTypes MixtureOf(const std::vector<std::string>& said,
                                    const ModelConfig& config);

}  // namespace puzzle
