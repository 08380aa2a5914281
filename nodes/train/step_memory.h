// What a global distillation takes on the CPU, counted from shapes: what is declared for it before
// it begins, and by what it chooses between time and memory. Needs no libtorch. Thread-safe (pure
// functions).
#pragma once

#include <cstdint>
#include <string>

#include "model/shape/config.h"
#include "nodes/train/kinds.h"

namespace puzzle {

struct DistillationShape {
  ModelConfig teacher, student;
  double trained = 0;        // parameters of the optimizer
  bool trains_head = false;  // the vocabulary's matrix among them
  double adapted = 0;       // elements of matrices with adapters: unless fused each part makes them
  bool keeps_best = false;  // a copy of what is trained
  bool in_bf16 = false;     // the products: the teacher's matrices are, of the student's copies
  bool head_in_bf16 = false;  // the products with the vocabulary
  bool fused = false;         // the student's blocks are FusedBlocks
  bool stored = false;        // what a file holds of the student is there beside it (StoredStudent)
  bool has_teachers_states = true;  // of a step's sequences
  bool has_teachers_head = true;    // its logits are computed for KL
  // Losses with a product with the vocabulary, each of which has gradients of its own.
  bool has_kl = true;
  bool has_lm = false;
  int64_t batch = 1;    // sequences
  int64_t length = 1;   // of a sequence
  double held_out = 0;  // sequences of which the teacher's last states are kept
  int64_t parts = 1;    // into which a batch is split
  int64_t threads = 1;  // how many of them are in work at once, at most
  /// Bytes of what only is read, or seldom: more lies in files.
  double most_in_memory = 256e6;

  /// The teacher's answers come from a store (`teacher_logits`).
  void TakeTeachersWords(const GkdParams& params);
};

/// By the parameters, on so many threads, where bf16 is as fast as it is asked for.
[[nodiscard]] DistillationShape DistillationShapeOf(const GkdParams& params,
                                                    const ModelConfig& teacher,
                                                    const ModelConfig& student, int64_t length,
                                                    int64_t threads);

/// How a distillation is computed: to the same bits in any way.
struct MemoryChoice {
  bool recompute = false;      // blocks again for their gradients, instead of keeping their insides
  bool in_files = false;       // parameters and moments of the optimizer in mapped files
  bool all_in_files = false;   // gradients too, and the matrices that are rounded for a batch
  bool one_at_a_time = false;  // one part of a batch in work, whatever the threads
};

/// Bytes of both models' weights before anything is trained.
[[nodiscard]] double ModelBytes(const DistillationShape& shape);
/// Bytes of memory, about, files' pages left out: the models, what is trained of them, and the
/// largest step.
[[nodiscard]] double DistillationBytes(const DistillationShape& shape, const MemoryChoice& choice);

/// Bytes of memory, about, that `pretrain` takes for a model of that shape on so many threads: a
/// distillation without a teacher.
[[nodiscard]] double PretrainingBytes(const PretrainParams& params, const ModelConfig& config,
                                      int64_t length, int64_t threads);

/// "blocks are computed again for their gradients, and ...": what a choice does for little memory;
/// empty for the fastest.
[[nodiscard]] std::string WhatItDoes(const MemoryChoice& choice);

/// The fastest choice that takes at most `limit` bytes, else the one that takes least. `recompute`
/// is that of GkdParams.
[[nodiscard]] MemoryChoice ChooseMemory(const DistillationShape& shape,
                                        const std::string& recompute, double limit);

/// What could be asked for in place of `params` that takes at most `limit` bytes in some way,
/// blocks being kept where `recompute` says so:
/// "`train` "changed" takes about 312 MiB"; empty when nothing does.
[[nodiscard]] std::string WaysToTakeLess(const DistillationShape& shape, const GkdParams& params,
                                         double limit);

/// Throws Error when the choice takes more than `limit` bytes: names the largest batch that does
/// not.
void CheckBatchFits(const DistillationShape& shape, const MemoryChoice& choice, double limit);

}  // namespace puzzle
