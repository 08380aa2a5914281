// Training for a file of few bits a weight (`gkd` with a precision): forward passes compute with
// what readers of the file will see, and gradients pass straight through the rounding to weights
// that stay fp32 (the straight-through estimator, Bengio et al., arXiv 1308.3432). Thread-safe.
#pragma once

#include <utility>

#include "model/files/stored_parts.h"
#include "model/transformer.h"

namespace puzzle {

/// What a file with these types holds of a student. Without types the student is computed as it is.
class StoredStudent {
 public:
  explicit StoredStudent(StoredTypes types) : types_(std::move(types)) {}

  /// A model with the values that are in the file, without history. Throws Error as StoredAs.
  [[nodiscard]] Transformer Seen(const Transformer& model) const;
  /// Computes what `seen` does, which is Seen of a model with these weights: made once, it serves
  /// all parts of a batch, on any device. A gradient by a matrix of `seen` becomes one by the
  /// matrix of `model`.
  [[nodiscard]] Transformer Through(const Transformer& model, const Transformer& seen) const;

 private:
  StoredTypes types_;
};

}  // namespace puzzle
