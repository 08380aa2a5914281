// The same model with all blocks alike, for readers that know no others: narrower FFNs filled up
// with channels of zeros, kv heads repeated, zeros where nothing stood. It computes the same and
// saves nothing. Thread-safe (pure functions).
#pragma once

#include "model/weights.h"

namespace puzzle {

/// Every block gets the widest FFN and the least number of kv heads that all numbers divide. Throws
/// Error for what full sub-blocks cannot say: linear ones, and windows that the family's config has
/// no words for.
[[nodiscard]] ModelWeights MakeDense(const ModelWeights& model);

}  // namespace puzzle
