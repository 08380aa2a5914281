#include "model/decode/packed_matrix.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "io/error.h"

namespace puzzle::decode {

Arena::Arena(size_t bytes, bool large_pages) : bytes_(std::max<size_t>(bytes, 1)) {
  void* data = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED)
    throw Error(fmt::format("no memory for {} MiB of weights or cache", bytes_ >> 20));
  if (large_pages) madvise(data, bytes_, MADV_HUGEPAGE);
  data_ = static_cast<char*>(data);
}

Arena::~Arena() {
  if (data_ != nullptr) munmap(data_, bytes_);
}

Arena::Arena(Arena&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      taken_(std::exchange(other.taken_, 0)) {}

Arena& Arena::operator=(Arena&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(taken_, other.taken_);
  return *this;
}

void* Arena::Take(size_t bytes) {
  void* const taken = data_ + taken_;
  taken_ += Rounded(bytes);
  PUZZLE_CHECK(taken_ <= Rounded(bytes_), "an arena that is too small");
  return taken;
}

namespace {

// Columns that lie together, and the bytes of them: four in every type.
int64_t GroupOf(WeightType type) {
  return type == WeightType::kFp32 ? 1 : type == WeightType::kBf16 ? 2 : 4;
}
constexpr int64_t kGroupBytes = 4;

// What the columns of a matrix, and the numbers of a token, are padded to.
int64_t DepthUnit(WeightType type) {
  return type == WeightType::kInt8 ? kQuantBlock : GroupOf(type);
}

size_t PanelBytes(int64_t padded_rows, int64_t columns, WeightType type) {
  return static_cast<size_t>(padded_rows * (PaddedDepth(columns, type) / GroupOf(type)) *
                             kGroupBytes);
}

}  // namespace

int64_t PaddedDepth(int64_t columns, WeightType type) {
  return PaddedTo(columns, DepthUnit(type));
}

size_t PackedMatrix::Bytes(int64_t rows, int64_t columns, WeightType type) {
  const int64_t padded = PaddedTo(rows, kLanes);
  const size_t scales =
      type == WeightType::kInt8 ? Arena::Rounded(static_cast<size_t>(padded) * sizeof(float)) : 0;
  return Arena::Rounded(PanelBytes(padded, columns, type)) + scales;
}

PackedMatrix::PackedMatrix(int64_t rows, int64_t columns, WeightType type, Arena& arena)
    : type_(type), rows_(rows), columns_(columns) {
  view_.rows = PaddedTo(rows, kLanes);
  view_.depth = PaddedDepth(columns, type);
  data_ = static_cast<char*>(arena.Take(PanelBytes(view_.rows, columns, type)));
  if (type == WeightType::kInt8)
    scales_ = static_cast<float*>(arena.Take(static_cast<size_t>(view_.rows) * sizeof(float)));
  view_.data = data_;
  view_.row_scales = scales_;
  // Memory is zero, and so are the rows that fill the last vector up, but not in int8.
  if (type != WeightType::kInt8 || rows == view_.rows) return;
  const std::vector<float> zeros(static_cast<size_t>((view_.rows - rows) * columns));
  PackRows(rows, view_.rows - rows, zeros.data());
}

void PackedMatrix::Convert(int64_t row, const float* x, char* words) const {
  switch (type_) {
    case WeightType::kFp32:
      std::memcpy(words, x, static_cast<size_t>(columns_) * sizeof(float));
      break;
    case WeightType::kBf16:
      RoundToken(x, columns_, view_.depth, reinterpret_cast<uint16_t*>(words));
      break;
    case WeightType::kInt8:
      scales_[row] = QuantizeRow(x, columns_, view_.depth, reinterpret_cast<uint8_t*>(words));
      break;
  }
}

void PackedMatrix::PackRows(int64_t first, int64_t count, const float* rows) {
  const int64_t words = view_.depth / GroupOf(type_);
  // A vector of rows at a time becomes whole lines of the panel. They lie a line further apart than
  // they are long: at powers of two, all of them would want the same places of the cache.
  const int64_t stride = words * kGroupBytes + 64;
  std::vector<char> converted(static_cast<size_t>(kLanes * stride));
  for (int64_t row = first, n = 0; row < first + count; row += n) {
    const int64_t panel = row / kPanelRows * kPanelRows;
    const int64_t width = std::min(kPanelRows, view_.rows - panel);
    n = std::min(kLanes - row % kLanes, first + count - row);
    for (int64_t r = 0; r < n; ++r)
      Convert(row + r, rows + (row + r - first) * columns_, converted.data() + r * stride);
    char* const out = data_ + (panel * words + row - panel) * kGroupBytes;
    for (int64_t w = 0; w < words; ++w)
      for (int64_t r = 0; r < n; ++r)
        std::memcpy(out + (w * width + r) * kGroupBytes,
                    converted.data() + r * stride + w * kGroupBytes, kGroupBytes);
  }
}

void PackedMatrix::Row(int64_t row, float* out) const {
  const int64_t begin = row / kPanelRows * kPanelRows, r = row - begin;
  const int64_t width = std::min(kPanelRows, view_.rows - begin), group = GroupOf(type_);
  const char* const data =
      static_cast<const char*>(view_.data) + (begin * (view_.depth / group) + r) * kGroupBytes;
  for (int64_t c = 0; c < columns_; ++c) {
    const char* at = data + c / group * width * kGroupBytes + c % group * (kGroupBytes / group);
    if (type_ == WeightType::kFp32) {
      std::memcpy(out + c, at, sizeof(float));
    } else if (type_ == WeightType::kBf16) {
      uint16_t bits = 0;
      std::memcpy(&bits, at, sizeof(bits));
      out[c] = std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
    } else {
      const int q = *reinterpret_cast<const uint8_t*>(at) - 128;
      out[c] = static_cast<float>(q) * view_.row_scales[row];
    }
  }
}

TokenBuffer::TokenBuffer(WeightType type, int64_t tokens, int64_t depth)
    : type_(type), stride_(PaddedTo(depth, kQuantBlock)) {
  data_.resize(static_cast<size_t>(tokens * (stride_ / GroupOf(type) * kGroupBytes)));
  if (type != WeightType::kInt8) return;
  scales_.resize(static_cast<size_t>(tokens * (stride_ / kQuantBlock)));
  offsets_.resize(scales_.size());
}

void TokenBuffer::Set(int64_t i, const float* x, int64_t n) {
  const int64_t padded = PaddedDepth(n, type_);
  char* const out = data_.data() + i * (stride_ / GroupOf(type_) * kGroupBytes);
  if (type_ == WeightType::kFp32) {
    std::memcpy(out, x, static_cast<size_t>(n) * sizeof(float));
  } else if (type_ == WeightType::kBf16) {
    RoundToken(x, n, padded, reinterpret_cast<uint16_t*>(out));
  } else {
    const int64_t blocks = i * (stride_ / kQuantBlock);
    QuantizeToken(x, n, padded, reinterpret_cast<int8_t*>(out), scales_.data() + blocks,
                  offsets_.data() + blocks);
  }
}

PanelTokens TokenBuffer::View(int64_t tokens) const {
  return {data_.data(), type_ == WeightType::kInt8 ? scales_.data() : nullptr,
          type_ == WeightType::kInt8 ? offsets_.data() : nullptr, tokens, stride_};
}

}  // namespace puzzle::decode
