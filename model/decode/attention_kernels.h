// Keys and values that a sequence has seen, as decoding reads them. Both lie in panels as weights
// do (panel_kernels.h): keys with positions as rows and dimensions as columns, values the other way
// round. So attention is made of the products that everything else is made of. In fp32 or bf16.
// Thread-safe on different positions and outputs.
#pragma once

#include <cstdint>
#include <limits>

#include "model/decode/panel_kernels.h"

namespace puzzle::decode {

/// Positions that attention looks at as one. Segments begin at multiples of it, whoever computes
/// them, so that a sum of segments has the same bits for any number of threads. A multiple of
/// kPanelRows.
inline constexpr int64_t kSegment = 256;
/// Segments that so many positions lie in.
[[nodiscard]] constexpr int64_t SegmentsOf(int64_t positions) {
  return (positions + kSegment - 1) / kSegment;
}

/// Bytes of a number in the cache.
[[nodiscard]] constexpr int64_t CacheBytes(bool bf16) {
  return bf16 ? 2 : 4;
}

/// What one kv head of one sequence remembers: `capacity` positions, a multiple of kLanes. Behind
/// the panels of a segment's values, [padded_dim, positions of the segment], follow those of the
/// next.
struct HeadCache {
  char* keys = nullptr;    // [capacity, depth]
  char* values = nullptr;  // [padded_dim, capacity], segment by segment
  int64_t head_dim = 0;
  int64_t capacity = 0;
  bool bf16 = false;

  [[nodiscard]] WeightType type() const { return bf16 ? WeightType::kBf16 : WeightType::kFp32; }
  /// Numbers of a key: head_dim padded with zeros to what lies together in a panel.
  [[nodiscard]] int64_t depth() const { return bf16 ? (head_dim + 1) / 2 * 2 : head_dim; }
  /// Numbers of a value: head_dim padded with zeros to vectors.
  [[nodiscard]] int64_t padded_dim() const { return (head_dim + kLanes - 1) / kLanes * kLanes; }
  [[nodiscard]] int64_t KeyBytes() const { return capacity * depth() * CacheBytes(bf16); }
  [[nodiscard]] int64_t Bytes() const {
    return KeyBytes() + capacity * padded_dim() * CacheBytes(bf16);
  }
  /// Where what attention to a segment reads first begins.
  [[nodiscard]] const char* KeysAt(int64_t segment) const {
    return keys + segment * kSegment * depth() * CacheBytes(bf16);
  }
  [[nodiscard]] const char* ValuesAt(int64_t segment) const {
    return values + segment * kSegment * padded_dim() * CacheBytes(bf16);
  }
};

/// Writes the key and the value of one position. REQUIRES: the memory was zero at first.
void Remember(const HeadCache& cache, int64_t position, const float* key, const float* value);

/// Scores of one query: `row` [end], of which only [first, last) are seen. `end` is a multiple of
/// kLanes.
struct SeenScores {
  float* row = nullptr;
  int64_t first = 0, last = 0, end = 0;
};

/// What is known of a row of weights.
struct Softened {
  float shift =
      -std::numeric_limits<float>::infinity();  // the highest scaled score, if any is seen
  float sum = 0;                                // of the weights
};

/// Scores become weights exp(scale * score - shift), 0 where they are not seen. With `rounded` to
/// bf16, and their sum is that of the rounded ones.
Softened SoftenScores(const SeenScores& scores, float scale, bool rounded);

}  // namespace puzzle::decode
