// The loops of vector_kernels.cpp, which includes this once for each instruction set, with its
// PANEL_LANES_AT_ONCE and PANEL_TOKENS_AT_ONCE and in a namespace of its own: vectors of sixteen
// numbers become what the set has when a function is compiled, so templates cannot be shared. No
// include guard, and no includes.

// Sixteen rows at once: one AVX-512 register, two of AVX2, four of SSE. Loads may be unaligned.
using Floats = float __attribute__((vector_size(64), aligned(4), may_alias));
using Words = uint32_t __attribute__((vector_size(64), aligned(4), may_alias));
using Ints = int32_t __attribute__((vector_size(64), aligned(4), may_alias));

// Sums of NB vectors of rows for each of MT tokens.
template <int NB, int MT>
struct Sums {
  Floats of[MT][NB];

  void Begin(const Piece& p) {
    for (int m = 0; m < MT; ++m)
      for (int b = 0; b < NB; ++b)
        of[m][b] = p.first
                       ? Floats{}
                       : *reinterpret_cast<const Floats*>(p.out + m * p.out_stride + b * kLanes);
  }
  void End(const Piece& p) const {
    for (int m = 0; m < MT; ++m)
      for (int b = 0; b < NB; ++b)
        *reinterpret_cast<Floats*>(p.out + m * p.out_stride + b * kLanes) = of[m][b];
  }
};

struct Fp32 {
  static constexpr int64_t kGroup = 1;     // columns that lie together
  static constexpr int64_t kBytes = 4;     // of a group
  static constexpr int kSumsPerToken = 1;  // vectors, for each vector of rows
  template <int NB, int MT>
  static void Tile(const Piece& p) {
    Sums<NB, MT> sums;
    sums.Begin(p);
    const auto* w = static_cast<const float*>(p.weights);
    const auto* x = static_cast<const float*>(p.tokens);
    for (int64_t c = 0; c < p.groups;) {
      const int64_t end = AskAhead(p, c);
      for (; c < end; ++c, w += p.width) {
        Floats lanes[NB];
        for (int b = 0; b < NB; ++b) lanes[b] = *reinterpret_cast<const Floats*>(w + b * kLanes);
        for (int m = 0; m < MT; ++m)
          for (int b = 0; b < NB; ++b) sums.of[m][b] += lanes[b] * x[m * p.stride + c];
      }
    }
    sums.End(p);
  }
};

struct Bf16 {
  static constexpr int64_t kGroup = 2;
  static constexpr int64_t kBytes = 4;
  static constexpr int kSumsPerToken = 1;
  template <int NB, int MT>
  static void Tile(const Piece& p) {
    Sums<NB, MT> sums;
    sums.Begin(p);
    const auto* w = static_cast<const uint32_t*>(p.weights);
    const auto* x = static_cast<const uint32_t*>(p.tokens);
    for (int64_t c = 0; c < p.groups;) {
      const int64_t end = AskAhead(p, c);
      for (; c < end; ++c, w += p.width) {
        Words pairs[NB];
        for (int b = 0; b < NB; ++b) pairs[b] = *reinterpret_cast<const Words*>(w + b * kLanes);
#ifdef PANEL_BF16
        for (int m = 0; m < MT; ++m) {
          const auto token = (__m512bh)_mm512_set1_epi32(static_cast<int>(x[m * p.stride + c]));
          for (int b = 0; b < NB; ++b)
            sums.of[m][b] =
                (Floats)_mm512_dpbf16_ps((__m512)sums.of[m][b], (__m512bh)pairs[b], token);
        }
#else
        for (int m = 0; m < MT; ++m) {
          const float low = std::bit_cast<float>(x[m * p.stride + c] << 16);
          const float high = std::bit_cast<float>(x[m * p.stride + c] & 0xFFFF0000U);
          for (int b = 0; b < NB; ++b) {
            sums.of[m][b] += (Floats)(pairs[b] << 16) * low;
            sums.of[m][b] += (Floats)(pairs[b] & 0xFFFF0000U) * high;
          }
        }
#endif
      }
    }
    sums.End(p);
  }
};

struct Int8 {
  static constexpr int64_t kGroup = 4;
  static constexpr int64_t kBytes = 4;
  static constexpr int kSumsPerToken = 2;  // whole ones of a block as well

  // sum += products of four unsigned and four signed bytes.
  static Ints MultiplyAdd(Ints sum, const Words& weights, uint32_t token) {
#if defined(PANEL_VNNI)
    return (Ints)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)weights,
                                     _mm512_set1_epi32(static_cast<int>(token)));
#elif defined(PANEL_AVX2)
    // Bytes 0 and 2, and 1 and 3, as pairs of 16-bit numbers.
    const auto bytes = std::bit_cast<std::array<int8_t, 4> >(token);
    const auto pair = [](int8_t a, int8_t b) {
      return _mm256_set1_epi32(static_cast<int>(
          static_cast<uint16_t>(a) | static_cast<uint32_t>(static_cast<uint16_t>(b)) << 16));
    };
    const __m256i even = pair(bytes[0], bytes[2]), odd = pair(bytes[1], bytes[3]);
    const __m256i low_bytes = _mm256_set1_epi32(0x00FF00FF);
    const auto half = [&](__m256i w, __m256i s) {
      s = _mm256_add_epi32(s, _mm256_madd_epi16(_mm256_and_si256(w, low_bytes), even));
      return _mm256_add_epi32(s, _mm256_madd_epi16(_mm256_srli_epi16(w, 8), odd));
    };
    struct Halves {
      __m256i low, high;
    };
    const auto w = std::bit_cast<Halves>(weights);
    const auto s = std::bit_cast<Halves>(sum);
    return std::bit_cast<Ints>(Halves{half(w.low, s.low), half(w.high, s.high)});
#else
    const auto bytes = std::bit_cast<std::array<int8_t, 4> >(token);
    for (int i = 0; i < 4; ++i) sum += (Ints)(weights >> (8 * i) & 0xFFU) * int32_t{bytes[i]};
    return sum;
#endif
  }

  template <int NB, int MT>
  static void Tile(const Piece& p) {
    Sums<NB, MT> sums;
    sums.Begin(p);
    const auto* w = static_cast<const uint32_t*>(p.weights);
    const auto* x = static_cast<const uint32_t*>(p.tokens);
    constexpr int64_t kGroups = kQuantBlock / kGroup;
    const int64_t blocks = p.groups / kGroups, scale_stride = p.stride / kGroups;
    for (int64_t block = 0; block < blocks; ++block) {
      static_assert(kGroups == kAskedGroups);
      AskAhead(p, block * kGroups);
      Ints whole[MT][NB];
      for (int m = 0; m < MT; ++m)
        for (int b = 0; b < NB; ++b) whole[m][b] = Ints{} - p.offsets[m * scale_stride + block];
      for (int64_t c = block * kGroups; c < (block + 1) * kGroups; ++c, w += p.width) {
        Words lanes[NB];
        for (int b = 0; b < NB; ++b) lanes[b] = *reinterpret_cast<const Words*>(w + b * kLanes);
        for (int m = 0; m < MT; ++m)
          for (int b = 0; b < NB; ++b)
            whole[m][b] = MultiplyAdd(whole[m][b], lanes[b], x[m * p.stride + c]);
      }
      for (int m = 0; m < MT; ++m)
        for (int b = 0; b < NB; ++b)
          sums.of[m][b] +=
              __builtin_convertvector(whole[m][b], Floats) * p.scales[m * scale_stride + block];
    }
    if (p.last) {
      for (int b = 0; b < NB; ++b) {
        const Floats scale = *reinterpret_cast<const Floats*>(p.row_scales + b * kLanes);
        for (int m = 0; m < MT; ++m) sums.of[m][b] *= scale;
      }
    }
    sums.End(p);
  }
};

// A tile of `size` tokens, at most MT.
template <class Kind, int NB, int MT>
void Sized(const Piece& p, int64_t size) {
  if constexpr (MT > 1) {
    if (size < MT) return Sized<Kind, NB, MT - 1>(p, size);
  }
  Kind::template Tile<NB, MT>(p);
}

// NB vectors of rows for all tokens. The first tiles ask for what comes next, at most as many bytes
// as the strip has.
template <class Kind, int NB>
void Strip(Piece p, int64_t tokens) {
  constexpr int kTokens = PANEL_TOKENS_AT_ONCE / Kind::kSumsPerToken;
  constexpr int64_t kLine = kLanes * Kind::kBytes;
  const int64_t all_tiles = (tokens + kTokens - 1) / kTokens;
  const int64_t lines = p.ahead == nullptr ? 0 : (NB + all_tiles - 1) / all_tiles;
  int64_t asked = 0;
  const auto advance = [&p](int64_t by) {
    const int64_t groups = by * p.stride;
    p.tokens = static_cast<const char*>(p.tokens) + groups * Kind::kBytes;
    p.out += by * p.out_stride;
    if (p.scales == nullptr) return;
    p.scales += groups * Kind::kGroup / kQuantBlock;
    p.offsets += groups * Kind::kGroup / kQuantBlock;
  };
  // Tiles as equal as can be: a small one waits for the weights as long as a large one.
  while (tokens > 0) {
    const int64_t tiles = (tokens + kTokens - 1) / kTokens;
    const int64_t size = (tokens + tiles - 1) / tiles;
    p.ahead_bytes = asked < NB ? lines * kLine : 0;
    Sized<Kind, NB, kTokens>(p, size);
    p.ahead += p.groups * p.ahead_bytes;
    asked += lines;
    advance(size);
    tokens -= size;
  }
}

// Rows [first, last), panel by panel. Tiles of tokens ask for what is read afterwards, `next` where
// there are two, or the panel behind where there are as many as a panel has vectors: fewer wait for
// memory themselves, and to ask for more at once only delays what they wait for.
template <class Kind>
void Multiply(const PanelMatrix& matrix, const PanelTokens& tokens, int64_t first, int64_t last,
              float* out, int64_t out_stride, const char* next) {
  constexpr int64_t kBlock = kDepthBlock / Kind::kGroup;
  const bool has_next = next != nullptr;
  const int64_t tiles =
      (tokens.count * Kind::kSumsPerToken + PANEL_TOKENS_AT_ONCE - 1) / PANEL_TOKENS_AT_ONCE;
  const int64_t depth = matrix.depth / Kind::kGroup;
  for (int64_t row = first; row < last;) {
    const int64_t panel = row / kPanelRows * kPanelRows;
    const int64_t width = std::min(kPanelRows, matrix.rows - panel);
    const int64_t end = std::min(last, panel + width);
    for (int64_t c = 0; c < depth; c += kBlock) {
      Piece p;
      p.width = width;
      p.stride = tokens.stride / Kind::kGroup;
      p.groups = std::min(kBlock, depth - c);
      p.tokens = static_cast<const char*>(tokens.data) + c * Kind::kBytes;
      if (tokens.scales != nullptr) {
        p.scales = tokens.scales + c * Kind::kGroup / kQuantBlock;
        p.offsets = tokens.offsets + c * Kind::kGroup / kQuantBlock;
      }
      p.out_stride = out_stride;
      p.first = c == 0;
      p.last = c + kBlock >= depth;
      // Half a panel is what a share of few rows may begin or end with.
      constexpr int kWhole = PANEL_LANES_AT_ONCE, kHalf = kWhole > 1 ? kWhole / 2 : 1;
      for (int64_t at = row; at < end;) {
        const int64_t left = (end - at) / kLanes;
        const int64_t vectors = left >= kWhole ? kWhole : left >= kHalf ? kHalf : 1;
        const int64_t bytes = p.groups * vectors * kLanes * Kind::kBytes;
        const char* const weights = static_cast<const char*>(matrix.data) +
                                    (panel * depth + c * width + (at - panel)) * Kind::kBytes;
        p.weights = weights;
        if (matrix.row_scales != nullptr) p.row_scales = matrix.row_scales + at;
        p.out = out + at;
        p.ahead = nullptr;
        if (has_next) {
          if (tiles > 1) p.ahead = next;
          next += bytes;
        } else if (tiles >= vectors && vectors * kLanes == width && (!p.last || end < last)) {
          p.ahead = weights + bytes;
        }
        if (vectors == kWhole) {
          Strip<Kind, kWhole>(p, tokens.count);
        } else if (vectors == kHalf) {
          Strip<Kind, kHalf>(p, tokens.count);
        } else {
          Strip<Kind, 1>(p, tokens.count);
        }
        at += vectors * kLanes;
      }
    }
    row = end;
  }
}

inline void MultiplyAs(WeightType type, const PanelMatrix& matrix, const PanelTokens& tokens,
                       int64_t first, int64_t last, float* out, int64_t out_stride,
                       const void* next) {
  const auto* const ahead = static_cast<const char*>(next);
  switch (type) {
    case WeightType::kFp32:
      return Multiply<Fp32>(matrix, tokens, first, last, out, out_stride, ahead);
    case WeightType::kBf16:
      return Multiply<Bf16>(matrix, tokens, first, last, out, out_stride, ahead);
    case WeightType::kInt8:
      return Multiply<Int8>(matrix, tokens, first, last, out, out_stride, ahead);
  }
}

using LongWords = uint64_t __attribute__((vector_size(64), aligned(8), may_alias));

inline uint64_t Sum(const uint64_t* words, int64_t n) {
  constexpr int64_t kWide = 8;
  LongWords sums[4] = {};
  int64_t i = 0;
  for (; i + 4 * kWide <= n; i += 4 * kWide)
    for (int b = 0; b < 4; ++b)
      sums[b] += *reinterpret_cast<const LongWords*>(words + i + b * kWide);
  const LongWords all = sums[0] + sums[1] + (sums[2] + sums[3]);
  uint64_t sum = 0;
  for (int k = 0; k < kWide; ++k) sum += all[k];
  for (; i < n; ++i) sum += words[i];
  return sum;
}
