// Tensors that are read when they are used: they have a shape and a type, but no memory (their
// device is "meta"), and know where their values lie. So a model is as large as the user's file
// says while what is in memory, as fp32, is what is being used. Handles are copied, put into other
// models and written like all others; only who computes with values calls InMemory. Thread-safe.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "io/array.h"
#include "model/weights.h"

namespace puzzle {

/// Where the values of a tensor lie. Immutable, shared by threads.
class TensorSource {
 public:
  virtual ~TensorSource() = default;

  /// All values, on the host, in memory of their own. Throws Error.
  [[nodiscard]] virtual at::Tensor Read() const = 0;

  /// A matrix in parts.
  class Rows {
   public:
    /// Rows from `first` on, as many as `out` holds: the numbers that Read has there. Computes on
    /// the calling thread alone. Throws Error. REQUIRES: the matrix has them.
    virtual void ReadRows(int64_t first, std::span<float> out) const = 0;
    /// Puts `count` rows from `first` on into `out` as elements of `type` where they lie there in
    /// it; else returns false. Throws Error, also for NaN and infinity.
    [[nodiscard]] virtual bool ReadStored(int64_t first, int64_t count, DType type,
                                          void* out) const;

   protected:
    ~Rows() = default;
  };
  /// nullptr for what is no matrix, or has to be read as a whole.
  [[nodiscard]] virtual const Rows* rows() const { return nullptr; }

  /// A checkpoint of the user's: what OpenCheckpoint(`checkpoint`) calls `name` (as in Slots).
  struct Place {
    std::string checkpoint;  // absolute
    std::string name;
  };
  /// nullptr for what is no tensor of such a checkpoint.
  [[nodiscard]] virtual const Place* place() const { return nullptr; }
};

/// An fp32 tensor of this shape; what `source` reads has to have it.
[[nodiscard]] at::Tensor Unread(const Shape& shape, std::shared_ptr<const TensorSource> source);
/// Where an unread tensor comes from; nullptr for tensors in memory, and undefined ones.
[[nodiscard]] std::shared_ptr<const TensorSource> SourceOf(const at::Tensor& tensor);

/// The values: the tensor itself, or what is read, every time anew. Undefined stays undefined.
/// Throws Error as the source does.
[[nodiscard]] at::Tensor InMemory(const at::Tensor& tensor);
[[nodiscard]] SubBlockWeights InMemory(SubBlockWeights weights);
/// What `compute` makes of the values, of this shape: at once where they are in memory, else every
/// time that it is read.
[[nodiscard]] at::Tensor Computed(const at::Tensor& tensor, const Shape& shape,
                                  std::function<at::Tensor(const at::Tensor& values)> compute);
/// Whether rows of it can be had without the others: a matrix in memory, or whose source has rows.
[[nodiscard]] bool HasRows(const at::Tensor& tensor);
/// Rows [first, first + count) of a matrix, of one without rows from all that is read.
[[nodiscard]] at::Tensor RowsInMemory(const at::Tensor& matrix, int64_t first, int64_t count);
/// How many rows of a matrix are some megabytes.
[[nodiscard]] int64_t RowsAtOnce(const at::Tensor& matrix);
/// Calls use(first, rows) for all rows of a matrix one after another, so many in memory at a time;
/// use(0, tensor) for what has no rows.
void ForEachRows(const at::Tensor& tensor,
                 const std::function<void(int64_t first, const at::Tensor& rows)>& use);

/// What of a model is wanted.
struct WantedPart {
  int64_t first = 0, last = 0;  // blocks [first, last)
  bool embedding = false;
  bool head = false;  // the embedding where they are tied
};
/// That part on `device`, with the final norm and learned positions. The rest stays as it is: a
/// Transformer of the result runs its own blocks only.
[[nodiscard]] ModelWeights PartInMemory(const ModelWeights& model, const WantedPart& part,
                                        const std::string& device);

}  // namespace puzzle
