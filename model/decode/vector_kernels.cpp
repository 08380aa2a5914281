// The instruction sets of panel_kernels.h and attention_kernels.h, and which is taken.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <vector>

#include "model/decode/vector_kernels.h"
#include "model/math/kernel_parts.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#include <immintrin.h>
#define PANEL_X86
#endif

namespace puzzle::decode {

namespace {

// Columns that are multiplied before the next tokens get their turn: what they read of a panel (256
// KiB of fp32) stays in the second-level cache. Sums continue from the output, so that blocks
// change no bit of them.
constexpr int64_t kDepthBlock = 1024;

// Some vectors of rows of one panel, a block of its columns, and the tokens.
struct Piece {
  const void* weights = nullptr;  // of the first row and column
  const void* tokens = nullptr;   // of the first token and column
  const float* scales = nullptr;
  const int32_t* offsets = nullptr;
  const float* row_scales = nullptr;
  int64_t width = 0;   // from one group of columns to the next, in groups
  int64_t stride = 0;  // from token to token, in groups
  int64_t groups = 0;
  float* out = nullptr;
  int64_t out_stride = 0;
  bool first = true;  // else sums continue
  bool last = true;
  const char* ahead = nullptr;  // memory that is read next
  int64_t ahead_bytes = 0;      // of it, for each group of columns
};

// Asks the second-level cache for the memory that belongs to some groups of columns, from `group`
// on, which need not be there; returns their end. A loop of its own: among the products it would
// take their registers.
constexpr int64_t kAskedGroups = 16;
PUZZLE_INLINE int64_t AskAhead(const Piece& p, int64_t group) {
  constexpr int64_t kLine = 64;
  const int64_t end = std::min(p.groups, group + kAskedGroups);
  const char* ahead = p.ahead + group * p.ahead_bytes;
  for (const char* const last = p.ahead + end * p.ahead_bytes; ahead < last; ahead += kLine)
    __builtin_prefetch(ahead, 0, 2);
  return end;
}

// To nearest, ties to even; what arithmetic makes a NaN stays one.
uint16_t Bf16Of(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

namespace baseline {
#define PANEL_LANES_AT_ONCE 1
#define PANEL_TOKENS_AT_ONCE 2
#include "model/decode/panel_tiles.h"

#include "model/decode/token_tiles.h"

#include "model/decode/attention_tiles.h"
#undef PANEL_LANES_AT_ONCE
#undef PANEL_TOKENS_AT_ONCE
}  // namespace baseline

#ifdef PANEL_X86

#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace avx2 {
#define PANEL_AVX2
#define PANEL_LANES_AT_ONCE 1
#define PANEL_TOKENS_AT_ONCE 6
#include "model/decode/panel_tiles.h"

#include "model/decode/token_tiles.h"

#include "model/decode/attention_tiles.h"
#undef PANEL_TOKENS_AT_ONCE
#undef PANEL_LANES_AT_ONCE
#undef PANEL_AVX2
}  // namespace avx2
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,prefer-vector-width=512")
namespace avx512 {
#define PANEL_LANES_AT_ONCE 4
#define PANEL_TOKENS_AT_ONCE 6
#include "model/decode/panel_tiles.h"

#include "model/decode/token_tiles.h"

#include "model/decode/attention_tiles.h"
}  // namespace avx512
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target( \
    "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16,avx2,fma,prefer-vector-width=512")
namespace avx512_products {
#define PANEL_BF16
#define PANEL_VNNI
#include "model/decode/panel_tiles.h"

#include "model/decode/token_tiles.h"

#include "model/decode/attention_tiles.h"
#undef PANEL_VNNI
#undef PANEL_BF16
#undef PANEL_TOKENS_AT_ONCE
#undef PANEL_LANES_AT_ONCE
}  // namespace avx512_products
#pragma GCC pop_options

#endif

#define PANEL_KERNELS(set) \
  set::MultiplyAs, set::Round, set::Quantize, set::Soften, set::Highest, set::Sum

std::vector<VectorKernels> Runnable() {
  std::vector<VectorKernels> sets;
#ifdef PANEL_X86
  const bool v4 =
      __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
      __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512dq") != 0;
  if (v4 && __builtin_cpu_supports("avx512bf16") != 0 && __builtin_cpu_supports("avx512vnni") != 0)
    sets.push_back({"AVX-512 with bf16 and int8 products", PANEL_KERNELS(avx512_products)});
  if (v4) sets.push_back({"AVX-512", PANEL_KERNELS(avx512)});
  if (__builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0)
    sets.push_back({"AVX2", PANEL_KERNELS(avx2)});
#endif
  sets.push_back({"baseline", PANEL_KERNELS(baseline)});
  return sets;
}

#undef PANEL_KERNELS

const VectorKernels& Chosen() {
  static const VectorKernels& best = RunnableKernels().front();
  return best;
}

}  // namespace

std::span<const VectorKernels> RunnableKernels() {
  static const std::vector<VectorKernels> sets = Runnable();
  return sets;
}

void MultiplyPanels(WeightType type, const PanelMatrix& matrix, const PanelTokens& tokens,
                    int64_t first, int64_t last, float* out, int64_t out_stride, const void* next) {
  Chosen().multiply(type, matrix, tokens, first, last, out, out_stride, next);
}

void RoundToken(const float* x, int64_t n, int64_t padded, uint16_t* out) {
  Chosen().round(x, n, padded, out);
}

void QuantizeToken(const float* x, int64_t n, int64_t padded, int8_t* out, float* scales,
                   int32_t* offsets) {
  Chosen().quantize(x, n, padded, out, scales, offsets);
}

Softened SoftenScores(const SeenScores& scores, float scale, bool rounded) {
  return Chosen().soften(scores, scale, rounded);
}

Peak HighestOf(const float* x, int64_t n) {
  return Chosen().highest(x, n);
}

namespace {

// Element (row, column) of a panel matrix whose columns lie together in groups.
int64_t PlaceOf(int64_t row, int64_t column, int64_t rows, int64_t depth, int64_t group) {
  const int64_t panel = row / kPanelRows * kPanelRows;
  const int64_t width = std::min(kPanelRows, rows - panel);
  return panel * depth + (column / group * width + row - panel) * group + column % group;
}

template <class T>
void RememberAs(const HeadCache& cache, int64_t position, const float* key, const float* value) {
  constexpr int64_t kGroup = 4 / sizeof(T);
  const auto put = [](float x) {
    if constexpr (sizeof(T) == 4) {
      return x;
    } else {
      return Bf16Of(x);
    }
  };
  const int64_t depth = cache.depth(), padded = cache.padded_dim();
  const int64_t segment = position / kSegment * kSegment;
  const int64_t positions = std::min(kSegment, cache.capacity - segment);
  T* const keys = reinterpret_cast<T*>(cache.keys);
  T* const values = reinterpret_cast<T*>(cache.values) + segment * padded;
  for (int64_t d = 0; d < cache.head_dim; ++d) {
    keys[PlaceOf(position, d, cache.capacity, depth, kGroup)] = put(key[d]);
    values[PlaceOf(d, position - segment, padded, positions, kGroup)] = put(value[d]);
  }
}

}  // namespace

void Remember(const HeadCache& cache, int64_t position, const float* key, const float* value) {
  if (cache.bf16) {
    RememberAs<uint16_t>(cache, position, key, value);
  } else {
    RememberAs<float>(cache, position, key, value);
  }
}

float QuantizeRow(const float* x, int64_t n, int64_t padded, uint8_t* out) {
  float highest = 0;
  for (int64_t i = 0; i < n; ++i) highest = std::max(highest, std::abs(x[i]));
  const float inverse = highest > 0 ? 127.0F / highest : 0.0F;
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<uint8_t>(std::lrint(x[i] * inverse) + 128);
  std::fill(out + n, out + padded, uint8_t{128});
  return highest / 127.0F;
}

uint64_t SumWords(const uint64_t* words, int64_t n) {
  return Chosen().sum(words, n);
}

std::string PanelInstructions() {
  return Chosen().name;
}

}  // namespace puzzle::decode
