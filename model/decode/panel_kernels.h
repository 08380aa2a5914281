// Products of few tokens with a packed matrix: the inner loops of decoding, over plain memory. A
// matrix lies in panels of kPanelRows rows, so that a token streams through it once, front to back,
// and sums of 16 rows grow side by side in one vector. What a token's product is does not depend on
// the tokens beside it, on how rows are divided among threads, nor on the instruction set but for
// fused multiplications. The machine's best instructions are taken (AVX-512 with its bf16 and int8
// products, AVX2, else what the compiler makes of vectors). Thread-safe on different outputs.
#pragma once

#include <cstdint>
#include <limits>
#include <string>

namespace puzzle::decode {

/// Rows that are computed side by side; rows of a packed matrix are padded to a multiple.
inline constexpr int64_t kLanes = 16;
/// Rows of a panel; the last one may have fewer.
inline constexpr int64_t kPanelRows = 64;
/// Numbers of a token that share a scale under int8; columns are padded to a multiple there, and to
/// pairs under bf16.
inline constexpr int64_t kQuantBlock = 64;

/// How a matrix is stored. Products are summed up in fp32.
enum class WeightType {
  kFp32,
  kBf16,  // tokens are rounded to bf16 as well
  kInt8,  // a scale for each row; tokens in int8 with a scale for each kQuantBlock numbers
};

/// A packed matrix [rows, depth], both padded. Element (r, c) of fp32 lies in panel p = r / 64 of
/// width w = min(64, rows - 64 p), at 64 p depth + c w + r % 64; bf16 has pairs (2c, 2c + 1) in its
/// place, int8 groups of four, each plus 128.
struct PanelMatrix {
  const void* data = nullptr;
  const float* row_scales = nullptr;  // [rows], int8 only
  int64_t rows = 0;
  int64_t depth = 0;
};

/// Tokens as a matrix of that type multiplies them: fp32 [tokens, stride]; bf16 bits, [tokens,
/// stride]; int8 [tokens, stride] with scales and 128 times the sums of blocks, [tokens, stride /
/// 64]. What lies behind a token's numbers, up to the matrix's depth, is zero.
struct PanelTokens {
  const void* data = nullptr;
  const float* scales = nullptr;
  const int32_t* offsets = nullptr;
  int64_t count = 0;
  int64_t stride = 0;  // in numbers
};

/// out[t * out_stride + r] = sum over c of matrix(r, c) token(t, c), for rows [first, last).
/// While panels meet several tiles of tokens, the caches are asked for the panel behind, or for as
/// much of `next`, memory that is read afterwards, as the product itself reads: it comes while
/// something is computed. REQUIRES: first and last multiples of kLanes, at most matrix.rows.
void MultiplyPanels(WeightType type, const PanelMatrix& matrix, const PanelTokens& tokens,
                    int64_t first, int64_t last, float* out, int64_t out_stride,
                    const void* next = nullptr);

/// x [n] rounded to bf16, zeros up to `padded`.
void RoundToken(const float* x, int64_t n, int64_t padded, uint16_t* out);
/// x [n] in int8: blocks of kQuantBlock numbers become q * scale; the scale of a block is no finite
/// number where one of them is none. `padded` is a multiple of it.
void QuantizeToken(const float* x, int64_t n, int64_t padded, int8_t* out, float* scales,
                   int32_t* offsets);

/// The highest of some numbers, and whether none of them is NaN.
struct Peak {
  float highest = -std::numeric_limits<float>::infinity();
  bool numbers = true;
};
[[nodiscard]] Peak HighestOf(const float* x, int64_t n);

/// A row x [n] of an int8 matrix: numbers plus 128, and 128 up to `padded`. Returns its scale.
float QuantizeRow(const float* x, int64_t n, int64_t padded, uint8_t* out);

/// The sum of n words, at the speed of the memory.
[[nodiscard]] uint64_t SumWords(const uint64_t* words, int64_t n);

/// "AVX-512 with bf16 and int8 products": what MultiplyPanels uses here.
[[nodiscard]] std::string PanelInstructions();

}  // namespace puzzle::decode
