// The loss of global distillation (`gkd`). Thread-safe.
#pragma once

#include <ATen/core/Tensor.h>

#include <atomic>
#include <string>
#include <vector>

#include "model/fused_blocks.h"
#include "model/math/top_words.h"
#include "nodes/data/counted_predictions.h"
#include "nodes/train/kinds.h"

namespace puzzle {

/// Which term of a loss was no finite number: of several the first that was found.
class BrokenTerm {
 public:
  void Look(const char* term, const at::Tensor& value);
  /// " (its KL)"; empty where there was none.
  [[nodiscard]] std::string Blame() const;

 private:
  std::atomic<const char*> term_{nullptr};
};

/// The type of the products with the vocabulary.
[[nodiscard]] at::ScalarType HeadProducts(const GkdParams& params, const std::string& device);

/// What a teacher says of some sequences, as far as losses ask.
struct TeacherOutput {
  std::vector<at::Tensor> states;  // TeacherStates of gkd.h
  TopWords words;                  // of every prediction; undefined: those of the last state
};

/// Matrices of the heads as their products see them, made once for several parts of a batch;
/// undefined: each makes its own.
struct RoundedHeads {
  at::Tensor teacher, student;
};

/// The training loss of some sequences `ids`: kl_weight * KL(teacher || student) + cosine_weight *
/// the mean over surviving layers of (1 - cos of the states behind them) + lm_weight * cross
/// entropy; only of the predictions that count, unless `counted` is null. With the teacher's
/// `words` KL is CoarseKlLoss (model/math/losses.h). The student's blocks are FusedBlocks with
/// `rounded`.
[[nodiscard]] at::Tensor GlobalLoss(const Transformer& teacher, const TeacherOutput& output,
                                    const Transformer& student, const RoundedBlocks& rounded,
                                    const RoundedHeads& heads, const at::Tensor& ids,
                                    const GkdParams& params, bool recompute,
                                    const CountedPredictions* counted, BrokenTerm& broken);

}  // namespace puzzle
