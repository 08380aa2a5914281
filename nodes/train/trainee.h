// One variant of a sub-block or block while it learns to answer as the parent's does.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "io/archive.h"
#include "model/math/optim.h"
#include "model/math/parallel.h"
#include "model/trainable.h"
#include "nodes/states/sub_block_data.h"
#include "nodes/train/kinds.h"

namespace puzzle {

/// Where a training has what it goes through once a step, and how much of one is done at a time.
/// Its bits do not depend on it.
struct TraineeRoom {
  MakeFlat flat = {};  // of parameters, moments and copies of the weights; in memory without
  bool one_at_a_time = false;  // parts of a batch, whatever the threads
};

/// Its loss on some sequences is MSE(target, output) / MSE(target, 0), or with `params.loss`
/// "token" the mean over tokens of |target - output|^2 / |target|^2; with `params.on` "answers"
/// both of the tokens that predict a token of an answer, alone. With `params.compute` "bf16" the
/// products of a step are computed in bf16 where the device is faster at it; weights, gradients'
/// sums and held-out losses stay fp32. Belongs to one thread; computes with as many as SetThreads
/// allows, and to the same result.
class Trainee {
 public:
  /// Trains a copy of `start`. The last `params.holdout` sequences are never trained on. Throws
  /// Error when none are left, and when answers are wanted that are not there. `parent`, whose
  /// layer need not be in memory, and `data` have to live as long.
  Trainee(const SubBlockWeights& start, const VariantSpec& spec, const Transformer& parent,
          const SubBlockData& data, const BldParams& params, std::string device,
          TraineeRoom room = {});

  /// Sequences to train on: the first ones.
  [[nodiscard]] int64_t n_train() const { return n_train_; }
  /// Loss on the sequences that are held out.
  [[nodiscard]] double HeldOutLoss() const;

  /// Puts the best output matrix, and bias, for the present features in place (of a whole block the
  /// FFN's, or the attention's before no FFN), by ridge regression on the first `tokens` tokens,
  /// rounded up to sequences.
  void RefitOutput(int64_t tokens, const std::function<void()>& poll);
  /// A step on `rows` comes soon.
  void Expect(const std::vector<int64_t>& rows) const { data_.Expect(rows); }
  /// One step of AdamW on `rows`. Returns the loss before it; one that is not finite changes
  /// nothing.
  double Step(const std::vector<int64_t>& rows, double learning_rate);

  /// What later steps depend on, and going on from there. REQUIRES, to save: a step was made.
  void Save(ArchiveWriter& out) const;
  void Restore(const ArchiveReader& in);

  /// A copy of the weights, and the same into one of before.
  [[nodiscard]] SubBlockWeights Weights() const;
  void CopyTo(SubBlockWeights& copy) const;

 private:
  // Rows of `power` and `predicts_answer`.
  [[nodiscard]] static at::Tensor Pick(const at::Tensor& values, const std::vector<int64_t>& rows);
  void CheckAnswers() const;
  // Weights of the tokens of `rows` in the loss of the batch `all`.
  [[nodiscard]] at::Tensor LossWeights(const std::vector<int64_t>& rows,
                                       const std::vector<int64_t>& all) const;
  [[nodiscard]] at::Tensor Loss(const std::vector<at::Tensor>& tensors,
                                const std::vector<int64_t>& rows, const std::vector<int64_t>& all,
                                bool in_bf16) const;
  [[nodiscard]] int64_t PieceRows() const;
  [[nodiscard]] AdamW& Optimizer();

  SubBlockWeights weights_;
  VariantSpec spec_;
  const Transformer& parent_;
  const SubBlockData& data_;
  BldParams params_;
  std::string device_;
  TraineeRoom room_;
  int64_t n_train_;
  bool bf16_steps_;
  Trainable trainable_;
  std::optional<AdamW> optimizer_;  // from the first step on
};

}  // namespace puzzle
