// safetensors files: single and sharded, read by range, written atomically. Readers are immutable
// after opening and may be shared by threads (positioned reads).
#pragma once

#include <bit>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/array.h"

namespace puzzle {

/// The tensors of one `.safetensors` file or of a checkpoint folder (`model.safetensors`, or
/// `model.safetensors.index.json` with its shards). Opening reads and checks headers only.
class SafetensorsReader {
 public:
  /// `path` is a file or a folder. Throws Error naming file and tensor for every malformed header
  /// (see io/README.md for the list of checks).
  static SafetensorsReader Open(const std::string& path);

  SafetensorsReader(SafetensorsReader&&) noexcept;
  SafetensorsReader& operator=(SafetensorsReader&&) noexcept;
  ~SafetensorsReader();

  /// Sorted by name.
  [[nodiscard]] std::vector<std::string> Names() const;
  [[nodiscard]] bool Has(const std::string& name) const;
  /// The shard that the index says holds a tensor which is not there; empty for all others. Some
  /// programs leave entries of tied heads in the index, so that this is no error by itself.
  [[nodiscard]] std::string Promised(const std::string& name) const;
  /// Throws Error when there is no such tensor.
  [[nodiscard]] ArrayInfo Info(const std::string& name) const;
  /// The element type as the file says it ("BF16", "F8_E4M3"), and the shape, of any type.
  [[nodiscard]] const std::string& TypeOf(const std::string& name) const;
  [[nodiscard]] const Shape& ShapeOf(const std::string& name) const;
  /// Reads the stored bytes into `out` (Info(name) many elements of the stored dtype).
  void Read(const std::string& name, void* out) const;
  /// Reads and converts to fp32 (from F32, F16, BF16, F64, F8_E4M3). Throws Error for other dtypes
  /// and, when `check_finite`, for NaN or infinity, with the tensor's name and the index.
  [[nodiscard]] std::vector<float> ReadF32(const std::string& name, bool check_finite = true) const;
  /// The same, finite, of rows of a matrix from `first` on, as many as `out` holds; of a tensor of
  /// more dimensions, of its first one. REQUIRES: the tensor has them.
  void ReadRowsF32(const std::string& name, int64_t first, std::span<float> out) const;
  /// The stored bytes of `count` such rows, of F32, F16 and BF16 finite as well.
  void ReadStoredRows(const std::string& name, int64_t first, int64_t count, void* out) const;
  /// The file that holds the tensor, for messages.
  [[nodiscard]] const std::string& FileOf(const std::string& name) const;

 private:
  friend std::string DigestSafetensors(const SafetensorsReader& reader);

  SafetensorsReader();
  struct State;
  std::unique_ptr<State> state_;
};

/// Values that are fetched while they are written, some rows of the first dimension at a time, each
/// once, in order.
class RowsToWrite {
 public:
  virtual ~RowsToWrite() = default;

  /// Puts rows [first, first + count) into `out` as elements of `type` where they are at hand in
  /// it; else returns false.
  [[nodiscard]] virtual bool ReadStored(int64_t first, int64_t count, DType type, void* out) = 0;
  /// Puts them into `out` in fp32.
  virtual void ReadValues(int64_t first, int64_t count, float* out) = 0;
};

/// A tensor to be written: fp32 values, in memory or fetched, stored as `stored` (kF32, kF16 or
/// kBF16, round to nearest even).
struct TensorToWrite {
  std::string name;
  Shape shape;
  const float* data = nullptr;
  DType stored = DType::kF32;
  std::shared_ptr<RowsToWrite> rows = nullptr;  // instead of `data`
};

/// Writes `folder/model.safetensors`, or shards and an index when the data exceeds
/// `max_shard_bytes`; creates the folder when there is none. Files appear atomically (temporary
/// name, rename), and an interrupted write never leaves a mixture that opens. A few MiB are held
/// beside what `rows` holds. Throws Error, also when a finite value is too large for its stored
/// type. REQUIRES: names differ.
void WriteSafetensors(const std::string& folder, const std::vector<TensorToWrite>& tensors,
                      uint64_t max_shard_bytes = 5'000'000'000);

/// Content digest over (name, dtype, shape, bytes) of every tensor, in name order: re-sharding a
/// checkpoint does not change it.
[[nodiscard]] std::string DigestSafetensors(const SafetensorsReader& reader);

/// fp32 -> 16 bits, round to nearest even, NaN stays NaN, too large becomes infinity; and back.
[[nodiscard]] uint16_t BF16FromF32(float value);
[[nodiscard]] inline float F32FromBF16(uint16_t bits) {
  return std::bit_cast<float>(uint32_t{bits} << 16);
}
[[nodiscard]] uint16_t F16FromF32(float value);
[[nodiscard]] float F32FromF16(uint16_t bits);
/// The 8 bits of E4M3 ("fn": no infinities) -> fp32.
[[nodiscard]] float F32FromE4M3(uint8_t bits);

}  // namespace puzzle
