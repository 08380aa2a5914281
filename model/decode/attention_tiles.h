// The loops of attention_kernels.h for one instruction set, included as panel_tiles.h is and behind
// it: Floats and Words are from there.

using HalfWords = uint16_t __attribute__((vector_size(32), aligned(2), may_alias));

// Sixteen numbers of the cache.
template <class T>
Floats Load(const T* from) {
  if constexpr (sizeof(T) == 4) {
    return *reinterpret_cast<const Floats*>(from);
  } else {
    return (Floats)(__builtin_convertvector(*reinterpret_cast<const HalfWords*>(from), Words)
                    << 16);
  }
}

// The products of `Rows` queries with `Blocks` blocks of keys; the last has `keys` of them.
template <class T, int Blocks, int Rows>
void ScoreTile(const T* keys, int64_t dim, const float* queries, float* scores, int64_t stride,
               int64_t last_keys) {
  Floats sums[Rows][Blocks] = {};
  for (int64_t d = 0; d < dim; ++d) {
    Floats lanes[Blocks];
    for (int b = 0; b < Blocks; ++b) lanes[b] = Load(keys + (b * dim + d) * kKeyBlock);
    for (int r = 0; r < Rows; ++r)
      for (int b = 0; b < Blocks; ++b) sums[r][b] += lanes[b] * queries[r * dim + d];
  }
  for (int r = 0; r < Rows; ++r) {
    for (int b = 0; b < Blocks; ++b) {
      float* out = scores + r * stride + b * kKeyBlock;
      if (b + 1 < Blocks || last_keys == kKeyBlock) {
        *reinterpret_cast<Floats*>(out) = sums[r][b];
      } else {
        for (int64_t i = 0; i < last_keys; ++i) out[i] = sums[r][b][i];
      }
    }
  }
}

template <class T, int Blocks>
void ScoreBlocks(const T* keys, int64_t dim, const float* queries, int64_t rows, float* scores,
                 int64_t stride, int64_t last_keys) {
  int64_t r = 0;
  for (; r + 3 <= rows; r += 3)
    ScoreTile<T, Blocks, 3>(keys, dim, queries + r * dim, scores + r * stride, stride, last_keys);
  for (; r < rows; ++r)
    ScoreTile<T, Blocks, 1>(keys, dim, queries + r * dim, scores + r * stride, stride, last_keys);
}

template <class T>
void ScoreKeysOf(const HeadCache& cache, const float* queries, int64_t rows, int64_t first,
                 int64_t last, float* scores) {
  const int64_t dim = cache.head_dim, stride = last - first;
  for (int64_t key = first; key < last;) {
    const T* keys = static_cast<const T*>(cache.keys) + key * dim;
    float* out = scores + (key - first);
    const int64_t left = last - key;
    if (left >= PANEL_LANES_AT_ONCE * kKeyBlock) {
      ScoreBlocks<T, PANEL_LANES_AT_ONCE>(keys, dim, queries, rows, out, stride, kKeyBlock);
      key += PANEL_LANES_AT_ONCE * kKeyBlock;
    } else {
      ScoreBlocks<T, 1>(keys, dim, queries, rows, out, stride, std::min(left, kKeyBlock));
      key += kKeyBlock;
    }
  }
}

// `Lanes` vectors of dimensions of the mixed values of `Rows` rows.
template <class T, int Lanes, int Rows>
void MixTile(const T* values, int64_t padded_dim, const float* weights, int64_t keys, float* out) {
  Floats sums[Rows][Lanes] = {};
  for (int64_t i = 0; i < keys; ++i, values += padded_dim) {
    Floats lanes[Lanes];
    for (int b = 0; b < Lanes; ++b) lanes[b] = Load(values + b * kLanes);
    for (int r = 0; r < Rows; ++r)
      for (int b = 0; b < Lanes; ++b) sums[r][b] += lanes[b] * weights[r * keys + i];
  }
  for (int r = 0; r < Rows; ++r)
    for (int b = 0; b < Lanes; ++b)
      *reinterpret_cast<Floats*>(out + r * padded_dim + b * kLanes) = sums[r][b];
}

template <class T, int Lanes>
void MixLanes(const T* values, int64_t padded_dim, const float* weights, int64_t rows, int64_t keys,
              float* out) {
  int64_t r = 0;
  for (; r + 3 <= rows; r += 3)
    MixTile<T, Lanes, 3>(values, padded_dim, weights + r * keys, keys, out + r * padded_dim);
  for (; r < rows; ++r)
    MixTile<T, Lanes, 1>(values, padded_dim, weights + r * keys, keys, out + r * padded_dim);
}

template <class T>
void MixValuesOf(const HeadCache& cache, const float* weights, int64_t rows, int64_t first,
                 int64_t last, float* out) {
  const int64_t dim = cache.padded_dim;
  const T* values = static_cast<const T*>(cache.values) + first * dim;
  int64_t d = 0;
  for (; d + PANEL_LANES_AT_ONCE * kLanes <= dim; d += PANEL_LANES_AT_ONCE * kLanes)
    MixLanes<T, PANEL_LANES_AT_ONCE>(values + d, dim, weights, rows, last - first, out + d);
  for (; d < dim; d += kLanes)
    MixLanes<T, 1>(values + d, dim, weights, rows, last - first, out + d);
}

inline void Score(const HeadCache& cache, const float* queries, int64_t rows, int64_t first,
                  int64_t last, float* scores) {
  if (cache.bf16) {
    ScoreKeysOf<uint16_t>(cache, queries, rows, first, last, scores);
  } else {
    ScoreKeysOf<float>(cache, queries, rows, first, last, scores);
  }
}

inline void Mix(const HeadCache& cache, const float* weights, int64_t rows, int64_t first,
                int64_t last, float* out) {
  if (cache.bf16) {
    MixValuesOf<uint16_t>(cache, weights, rows, first, last, out);
  } else {
    MixValuesOf<float>(cache, weights, rows, first, last, out);
  }
}
