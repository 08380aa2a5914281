#include "nodes/train/step_memory.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "io/error.h"
#include "model/block/counts.h"
#include "model/shape/variant.h"
#include "nodes/train/trained_share.h"

namespace puzzle {

namespace {

constexpr double kFloat = 4, kBf16 = 2;             // bytes
constexpr int64_t kParts = 4;                       // of a batch, see RowParts
constexpr int64_t kChunkLogits = int64_t{1} << 23;  // of a head at a time, see model/math/losses
constexpr double kSpread = 1.05;                    // what the allocator cannot use in between

double AsDouble(int64_t value) {
  return static_cast<double>(value);
}

double BlockParameters(const ModelConfig& config) {
  return AsDouble(CountBlockParameters(config));
}

double OtherParameters(const ModelConfig& config) {
  return AsDouble(CountNonBlockParameters(config));
}

double IfSmall(double bytes, const DistillationShape& shape) {
  return bytes <= shape.most_in_memory ? bytes : 0;
}

double TeacherBytes(const DistillationShape& shape) {
  return IfSmall(kFloat * OtherParameters(shape.teacher) +
                     (shape.in_bf16 ? kBf16 : kFloat) * BlockParameters(shape.teacher),
                 shape);
}

// Weights, gradients, the two moments, the best state.
double StudentBytes(const DistillationShape& shape, bool in_files) {
  const bool is_beside = shape.adapted > 0;  // what is trained is no part of the student
  double parameters = BlockParameters(shape.student) + OtherParameters(shape.student) +
                      (is_beside ? shape.trained : 0);
  if (in_files) parameters -= shape.trained;
  const double stored =
      shape.stored ? BlockParameters(shape.student) + OtherParameters(shape.student) : 0;
  const double moments = in_files ? 0 : 2 * shape.trained;
  const double best = shape.keeps_best ? IfSmall(kFloat * shape.trained, shape) : 0;
  return kFloat * (parameters + shape.trained + moments + stored) + best +
         (shape.in_bf16 ? kBf16 * BlockParameters(shape.student) : 0);
}

// Sequences of the largest part.
int64_t RowsOfPart(const DistillationShape& shape) {
  return (shape.batch + shape.parts - 1) / shape.parts;
}

// Of one part: the logits of a chunk, which their gradients take the place of, the gradient of the
// vocabulary's matrix, and the models' matrices in the type of the products.
double HeadBytes(const DistillationShape& shape) {
  if (!shape.has_all_losses) return 0;
  const int64_t vocabulary = std::max<int64_t>(shape.student.vocab_size, 1);
  const int64_t tokens =
      std::min(std::max<int64_t>(16, kChunkLogits / vocabulary), RowsOfPart(shape) * shape.length);
  const double logits = AsDouble(tokens * vocabulary);
  const double matrix = AsDouble(vocabulary * shape.student.hidden_size);
  const double models = shape.has_teachers_head ? 2 : 1;
  return (models * kFloat + (shape.head_in_bf16 ? kBf16 : 0)) * logits +
         (shape.trains_head ? kFloat * matrix : 0) +
         (shape.head_in_bf16 ? models * kBf16 * matrix : 0);
}

double PartBytes(const DistillationShape& shape, bool recompute) {
  const int64_t tokens = RowsOfPart(shape) * shape.length;
  const double state = kFloat * AsDouble(tokens * shape.student.hidden_size);
  const double layers = AsDouble(shape.student.n_layers());
  const double kept = block::KeptForGradients(shape.student, tokens, shape.fused);
  return (shape.has_teachers_states ? (layers + 1) * state : 0) +
         (recompute ? layers * state + kept / std::max(layers, 1.0) : kept) + HeadBytes(shape) +
         kFloat * shape.adapted;
}

}  // namespace

DistillationShape DistillationShapeOf(const GkdParams& params, const ModelConfig& teacher,
                                      const ModelConfig& student, int64_t length, int64_t threads) {
  const TrainedShare share = ShareOf(params, teacher, student);
  DistillationShape shape;
  shape.teacher = teacher;
  shape.student = student;
  shape.trained = share.parameters;
  shape.trains_head = share.head;
  shape.adapted = params.train == "adapters" ? share.matrices : 0;
  shape.keeps_best = params.holdout > 0;
  shape.in_bf16 = shape.fused = params.compute == "bf16";
  shape.head_in_bf16 =
      (params.head_compute == "auto" ? params.compute : params.head_compute) == "bf16";
  shape.has_all_losses = params.kl_weight > 0 || params.lm_weight > 0;
  shape.batch = params.batch;
  shape.length = length;
  shape.parts = std::min(params.batch, kParts);
  shape.threads = threads;
  return shape;
}

void DistillationShape::TakeTeachersWords(const GkdParams& params) {
  has_teachers_states = params.cosine_weight > 0;
  has_teachers_head = false;
}

double ModelBytes(const DistillationShape& shape) {
  return TeacherBytes(shape) +
         kFloat * (BlockParameters(shape.student) + OtherParameters(shape.student));
}

double DistillationBytes(const DistillationShape& shape, const MemoryChoice& choice) {
  const double at_once = AsDouble(std::min(shape.parts, shape.threads));
  return kSpread * (TeacherBytes(shape) + StudentBytes(shape, choice.in_files) +
                    at_once * PartBytes(shape, choice.recompute));
}

MemoryChoice ChooseMemory(const DistillationShape& shape, const std::string& recompute,
                          double limit) {
  MemoryChoice choice;
  for (const bool in_files : {false, true}) {
    for (const bool again : {false, true}) {
      if (recompute != "auto" && again != (recompute == "on")) continue;
      choice = {again, in_files};
      if (DistillationBytes(shape, choice) <= limit) return choice;
    }
  }
  return choice;
}

void CheckBatchFits(const DistillationShape& shape, const MemoryChoice& choice, double limit) {
  const auto bytes = [&](int64_t batch) {
    DistillationShape other = shape;
    other.batch = batch;
    other.parts = std::min(shape.parts, batch);
    return DistillationBytes(other, choice);
  };
  if (bytes(shape.batch) <= limit) return;
  int64_t largest = shape.batch - 1;
  while (largest > 0 && bytes(largest) > limit) --largest;
  const auto gib = [](double of) { return of / (1 << 30); };
  const std::string what = fmt::format(
      "a step of {} sequences of {} tokens takes about {:.3g} GiB with the models, and {:.3g} are "
      "free: ",
      shape.batch, shape.length, gib(bytes(shape.batch)), gib(limit));
  throw Error(what + (largest > 0 ? fmt::format("take a `batch` of at most {}{}", largest,
                                                choice.recompute ? "" : ", or `recompute` on")
                                  : std::string("take shorter sequences, or fewer threads")));
}

}  // namespace puzzle
