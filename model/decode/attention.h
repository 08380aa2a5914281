// Attention of a few queries to what a sequence remembers, segment by segment of the cache: what a
// segment contributes can be computed by any thread, and is added up afterwards, in order. So the
// bits of a sum depend on nothing but the queries and the cache. Thread-safe on different rooms.
#pragma once

#include <cstdint>
#include <vector>

#include "model/decode/attention_kernels.h"
#include "model/decode/packed_matrix.h"

namespace puzzle::decode {

/// Queries of successive positions of a sequence that share a kv head, position by position.
struct Queries {
  PanelTokens tokens;     // [positions * group, head_dim], as the cache's type multiplies them
  int64_t first = 0;      // the position of the first
  int64_t positions = 1;  // each sees the keys up to its own
  int64_t group = 1;
  int64_t window = 0;  // at most so many of them; 0: all
  float scale = 1;     // of scores
  float cap = 0;       // if it is not 0, scores are cap * tanh(scale / cap * product)

  [[nodiscard]] int64_t count() const { return positions * group; }
  /// Keys [begin, end) are all that any of them sees; `begin` is a multiple of kLanes.
  [[nodiscard]] int64_t begin() const;
  [[nodiscard]] int64_t end() const { return first + positions; }
  /// Segments [first, last) that they lie in.
  [[nodiscard]] int64_t first_segment() const { return begin() / kSegment; }
  [[nodiscard]] int64_t last_segment() const { return SegmentsOf(end()); }
};

/// What queries get out of some keys, in memory of `Numbers` numbers: `mixed` [queries,
/// padded_dim], the sum of exp(score - shift) times the values, and of each query the highest score
/// and the sum of exp(score - shift), -infinity and 0 where it sees none of the keys.
struct Mixture {
  float* mixed = nullptr;
  float* shift = nullptr;
  float* sum = nullptr;
  int64_t queries = 0, padded_dim = 0;

  Mixture(float* memory, int64_t queries, int64_t padded_dim);
  [[nodiscard]] static int64_t Numbers(int64_t queries, int64_t padded_dim) {
    return queries * (padded_dim + 2);
  }
  /// That of no keys.
  void Clear() const;
  /// Adds what the same queries get out of other keys.
  void Add(const Mixture& part) const;
};

/// What one thread computes scores in, of up to `queries` queries to a cache of the given type.
struct AttentionRoom {
  AttentionRoom(WeightType type, int64_t queries);
  std::vector<float> scores;  // [queries, kSegment]
  TokenBuffer weights;
};

/// What queries get out of the keys of one segment. `next` is what is read afterwards, as in
/// MultiplyPanels. REQUIRES: a segment of the queries; the cache remembers all keys they see.
void AttendSegment(const HeadCache& cache, const Queries& queries, int64_t segment,
                   const char* next, AttentionRoom& room, const Mixture& out);

}  // namespace puzzle::decode
