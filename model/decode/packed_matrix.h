// Matrices of weights as the kernels of panel_kernels.h read them, packed once, and the tokens that
// they are multiplied with. Not thread-safe while something is being packed or set; afterwards
// thread-compatible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/decode/panel_kernels.h"

namespace puzzle::decode {

/// Zeroed memory, in large pages where the system gives them: a stream through gigabytes of small
/// pages waits for their addresses. Aligned to 64 bytes; given out front to back, freed as a whole.
class Arena {
 public:
  Arena() = default;
  /// Throws Error when the system does not give as much. What is not touched takes no memory, but
  /// for the rest of a page, which is 2 MiB where pages are large.
  explicit Arena(size_t bytes, bool large_pages = true);
  ~Arena();
  Arena(Arena&& other) noexcept;
  Arena& operator=(Arena&& other) noexcept;

  [[nodiscard]] size_t bytes() const { return bytes_; }
  /// REQUIRES: Rounded(bytes) of what has been taken are at most bytes() in all.
  [[nodiscard]] void* Take(size_t bytes);
  /// What `Take(bytes)` takes.
  [[nodiscard]] static size_t Rounded(size_t bytes) { return (bytes + 63) / 64 * 64; }

 private:
  char* data_ = nullptr;
  size_t bytes_ = 0;
  size_t taken_ = 0;
};

/// n rounded up to a multiple of `unit`.
[[nodiscard]] constexpr int64_t PaddedTo(int64_t n, int64_t unit) {
  return (n + unit - 1) / unit * unit;
}
/// Columns of a packed matrix of `columns`.
[[nodiscard]] int64_t PaddedDepth(int64_t columns, WeightType type);

/// A matrix [rows, columns]. Its memory is an arena's, which has to live as long.
class PackedMatrix {
 public:
  PackedMatrix() = default;
  /// Bytes that it takes of an arena.
  [[nodiscard]] static size_t Bytes(int64_t rows, int64_t columns, WeightType type);
  /// Takes them. Rows have no values until they are packed.
  PackedMatrix(int64_t rows, int64_t columns, WeightType type, Arena& arena);

  /// `count` rows from `first` on become those of `rows`, fp32, row-major. Thread-safe for
  /// different rows. REQUIRES: they are rows of the matrix.
  void PackRows(int64_t first, int64_t count, const float* rows);

  [[nodiscard]] bool defined() const { return view_.data != nullptr; }
  [[nodiscard]] int64_t rows() const { return rows_; }
  /// Vectors of rows: what is divided among threads.
  [[nodiscard]] int64_t lanes() const { return view_.rows / kLanes; }
  [[nodiscard]] int64_t columns() const { return columns_; }
  [[nodiscard]] WeightType type() const { return type_; }
  [[nodiscard]] const PanelMatrix& view() const { return view_; }
  /// Row `row` as it was packed, rounded to the type: [columns].
  void Row(int64_t row, float* out) const;

 private:
  // Row `row` in the form of its type, as a sequence of words.
  void Convert(int64_t row, const float* x, char* words) const;

  WeightType type_ = WeightType::kFp32;
  int64_t rows_ = 0, columns_ = 0;
  char* data_ = nullptr;
  float* scales_ = nullptr;  // int8 only
  PanelMatrix view_;         // of both
};

/// Room for tokens of up to `depth` numbers in the form that a type of weights wants.
class TokenBuffer {
 public:
  TokenBuffer(WeightType type, int64_t tokens, int64_t depth);
  /// Token `i` of a product with a matrix of `n` columns. Thread-safe for different `i`.
  void Set(int64_t i, const float* x, int64_t n);
  [[nodiscard]] PanelTokens View(int64_t tokens) const;

 private:
  WeightType type_;
  int64_t stride_;
  std::vector<char> data_;
  std::vector<float> scales_;
  std::vector<int32_t> offsets_;
};

}  // namespace puzzle::decode
