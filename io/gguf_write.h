// Writing GGUF files (version 3), tensor by tensor. A writer belongs to one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "io/array.h"
#include "io/ggml_types.h"
#include "io/gguf.h"

namespace puzzle {

class RowsToWrite;  // io/safetensors.h

/// In the order of the file. Integers become u32, lists of them i32, numbers and lists of them f32:
/// what llama.cpp expects wherever a key has a choice.
using GgufMetadata = std::vector<std::pair<std::string, GgufValue>>;

/// A tensor to come; its rows are whole blocks of its type.
struct GgufTensorToWrite {
  std::string name;
  Shape shape;                     // row-major, [out, in]
  const GgmlType* type = nullptr;  // one that is written (FindWritableGgmlType)
};

/// A file that appears at its path whole or not at all. All sizes are known before the first tensor
/// is written, and beside the tensor at hand a few MiB are held.
class GgufWriter {
 public:
  /// Bytes of a tensor in a file, padded, and of the whole file. Throw Error as the constructor.
  [[nodiscard]] static uint64_t TensorBytes(const GgufTensorToWrite& tensor);
  [[nodiscard]] static uint64_t FileBytes(const GgufMetadata& metadata,
                                          std::vector<GgufTensorToWrite> tensors);

  /// Begins a file under a temporary name beside `path`. Throws Error, naming key or tensor, before
  /// a file is made for what readers refuse: keys and names that are empty, too long or there
  /// twice, integers that do not fit, tensors without elements, and rows that are no whole blocks
  /// of their type.
  GgufWriter(const std::string& path, const GgufMetadata& metadata,
             std::vector<GgufTensorToWrite> tensors);
  GgufWriter(GgufWriter&&) noexcept;
  GgufWriter& operator=(GgufWriter&&) noexcept;
  /// Without Commit() nothing is left.
  ~GgufWriter();

  /// The next values: a tensor of the list whole, or in pieces that end where a block of its type
  /// does. Throws Error, naming it, for NaN, infinity, and finite values that are too large for its
  /// type. REQUIRES: not more values than the tensor still has to get.
  void Append(std::span<const float> values);
  /// The next tensor whole, by rows; what they have at hand as elements of its type, and checked,
  /// is not converted. Throws Error as `rows` does as well.
  void AppendRows(RowsToWrite& rows);
  /// Waits for the disk and gives the file its name, replacing one that is there. Returns its
  /// bytes. REQUIRES: all tensors are written.
  uint64_t Commit();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace puzzle
