// Keys and values that a sequence has seen, as decoding reads them: the loops of attention over a
// cache, over plain memory. Keys lie in blocks of sixteen positions, a dimension at a time, so that
// sixteen products with a query grow side by side; values lie one behind the other. In fp32 or
// bf16; products are summed up in fp32. Thread-safe on different outputs.
#pragma once

#include <cstdint>

namespace puzzle::decode {

/// Positions of a block of keys.
inline constexpr int64_t kKeyBlock = 16;

/// Bytes of a number in the cache.
[[nodiscard]] constexpr int64_t CacheBytes(bool bf16) {
  return bf16 ? 2 : 4;
}

/// What one kv head of one sequence remembers. Values have `padded_dim` numbers each, the
/// dimensions padded to a multiple of kLanes with zeros.
struct HeadCache {
  void* keys = nullptr;    // [capacity / 16, head_dim, 16]
  void* values = nullptr;  // [capacity, padded_dim]
  int64_t head_dim = 0;
  int64_t padded_dim = 0;
  bool bf16 = false;
};

/// Writes the key and the value of one position.
void Remember(const HeadCache& cache, int64_t position, const float* key, const float* value);

/// scores[r * (last - first) + i] = query r times the key of position first + i. Queries are [rows,
/// head_dim]. REQUIRES: first is a multiple of kKeyBlock.
void ScoreKeys(const HeadCache& cache, const float* queries, int64_t rows, int64_t first,
               int64_t last, float* scores);

/// out[r * padded_dim + d] = sum of weights[r * (last - first) + i] times the value of first + i.
void MixValues(const HeadCache& cache, const float* weights, int64_t rows, int64_t first,
               int64_t last, float* out);

}  // namespace puzzle::decode
