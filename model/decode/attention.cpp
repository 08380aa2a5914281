#include "model/decode/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace puzzle::decode {

int64_t Queries::begin() const {
  const int64_t seen = window > 0 ? std::max<int64_t>(0, first + 1 - window) : 0;
  return seen / kLanes * kLanes;
}

Mixture::Mixture(float* memory, int64_t queries, int64_t padded_dim)
    : mixed(memory),
      shift(memory + queries * padded_dim),
      sum(shift + queries),
      queries(queries),
      padded_dim(padded_dim) {}

void Mixture::Clear() const {
  std::fill(mixed, mixed + queries * padded_dim, 0.0F);
  std::fill(shift, shift + queries, -std::numeric_limits<float>::infinity());
  std::fill(sum, sum + queries, 0.0F);
}

void Mixture::Add(const Mixture& part) const {
  for (int64_t q = 0; q < queries; ++q) {
    if (part.sum[q] == 0) continue;  // it sees none of these keys
    const float highest = std::max(shift[q], part.shift[q]);
    const float keep = shift[q] == highest ? 1.0F : std::exp(shift[q] - highest);
    const float take = part.shift[q] == highest ? 1.0F : std::exp(part.shift[q] - highest);
    float* const own = mixed + q * padded_dim;
    const float* const other = part.mixed + q * padded_dim;
#pragma omp simd
    for (int64_t d = 0; d < padded_dim; ++d) own[d] = own[d] * keep + other[d] * take;
    sum[q] = sum[q] * keep + part.sum[q] * take;
    shift[q] = highest;
  }
}

AttentionRoom::AttentionRoom(WeightType type, int64_t queries)
    : scores(static_cast<size_t>(queries * kSegment)), weights(type, queries, kSegment) {}

namespace {

void CapScores(float scale, float cap, int64_t count, float* scores) {
  const float inner = scale / cap;
  for (int64_t i = 0; i < count; ++i) scores[i] = cap * std::tanh(scores[i] * inner);
}

}  // namespace

void AttendSegment(const HeadCache& cache, const Queries& queries, int64_t segment,
                   const char* next, AttentionRoom& room, const Mixture& out) {
  // From here on keys are counted from the segment's first.
  const int64_t base = segment * kSegment;
  const int64_t begin = std::max(queries.begin() - base, int64_t{0});
  const int64_t end = std::min(queries.end() - base, kSegment);
  const int64_t padded_end = PaddedTo(end, kLanes);
  const int64_t positions = std::min(kSegment, cache.capacity - base);
  const int64_t number = CacheBytes(cache.bf16);  // bytes of one
  const char* const values = cache.ValuesAt(segment);
  const PanelMatrix keys{cache.KeysAt(segment), nullptr, positions, cache.depth()};
  float* const scores = room.scores.data();
  MultiplyPanels(cache.type(), keys, queries.tokens, begin, padded_end, scores, kSegment,
                 values + begin * std::min(kPanelRows, cache.padded_dim()) * number);
  for (int64_t q = 0; q < queries.count(); ++q) {
    float* const row = scores + q * kSegment + begin;
    float scale = queries.scale;
    if (queries.cap > 0) {
      CapScores(scale, queries.cap, padded_end - begin, row);
      scale = 1;
    }
    const int64_t position = queries.first + q / queries.group - base;
    const int64_t first = queries.window > 0 ? position + 1 - queries.window : 0;
    const Softened softened = SoftenScores({.row = row,
                                            .first = std::max(first - begin, int64_t{0}),
                                            .last = std::min(position + 1, end) - begin,
                                            .end = padded_end - begin},
                                           scale, cache.bf16);
    out.shift[q] = softened.shift;
    out.sum[q] = softened.sum;
    room.weights.Set(q, row, end - begin);
  }
  const PanelTokens weights = room.weights.View(queries.count());
  for (int64_t d = 0; d < cache.padded_dim(); d += kPanelRows) {
    const int64_t width = std::min(kPanelRows, cache.padded_dim() - d);
    const PanelMatrix panel{values + (d * positions + begin * width) * number, nullptr, width,
                            PaddedDepth(end - begin, cache.type())};
    MultiplyPanels(cache.type(), panel, weights, 0, width, out.mixed + d, out.padded_dim, next);
    if (next != nullptr) next += width * panel.depth * number;
  }
}

}  // namespace puzzle::decode
