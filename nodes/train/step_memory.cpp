#include "nodes/train/step_memory.h"

#include <algorithm>
#include <vector>

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

double VocabularyElements(const DistillationShape& shape) {
  return AsDouble(std::max<int64_t>(shape.student.vocab_size, 1) * shape.student.hidden_size);
}

// With its head's matrix in the type of the products.
double TeacherBytes(const DistillationShape& shape) {
  const double head = shape.has_kl && shape.has_teachers_head && shape.head_in_bf16
                          ? kBf16 * VocabularyElements(shape)
                          : 0;
  return IfSmall(kFloat * OtherParameters(shape.teacher) +
                     (shape.in_bf16 ? kBf16 : kFloat) * BlockParameters(shape.teacher),
                 shape) +
         IfSmall(head, shape);
}

// Weights that are not trained, and of those that are values, gradients, the two moments and the
// best state; and what is rounded once for a batch.
double StudentBytes(const DistillationShape& shape, const MemoryChoice& choice) {
  const double whole = BlockParameters(shape.student) + OtherParameters(shape.student);
  const bool has_head = shape.has_kl || shape.has_lm;
  const bool is_beside = shape.adapted > 0;  // what is trained is no part of the student
  // A student that is too large lies in a file, of which the optimizer takes what it trains.
  const double others =
      IfSmall(kFloat * whole, shape) > 0 ? whole - (is_beside ? 0 : shape.trained) : 0;
  const double state = choice.in_files ? 0 : 3 * shape.trained;
  const double gradients = choice.all_in_files ? 0 : shape.trained;
  const double best = shape.keeps_best ? IfSmall(kFloat * shape.trained, shape) : 0;
  const double rounded = (shape.in_bf16 && shape.fused ? BlockParameters(shape.student) : 0) +
                         (has_head && shape.head_in_bf16 ? VocabularyElements(shape) : 0);
  return kFloat * (others + state + gradients + (shape.stored ? whole + shape.adapted : 0)) + best +
         (choice.all_in_files ? 0 : kBf16 * rounded);
}

// Sequences of the largest part.
int64_t RowsOfPart(const DistillationShape& shape) {
  return (shape.batch + shape.parts - 1) / shape.parts;
}

// Of one part behind its forward pass: gradients of the states and of the vocabulary's matrix by
// every loss, and logits of a chunk, whose gradients take their place: those of both models with
// the first of them.
double HeadBytes(const DistillationShape& shape, double state, double matrix) {
  const int64_t vocabulary = std::max<int64_t>(shape.student.vocab_size, 1);
  const int64_t tokens =
      std::min(std::max<int64_t>(16, kChunkLogits / vocabulary), RowsOfPart(shape) * shape.length);
  const double logits = AsDouble(tokens * vocabulary);
  const double own = (kFloat + (shape.head_in_bf16 ? kBf16 : 0)) * logits;
  const double one = state + matrix;
  const double first = one + (shape.has_kl && shape.has_teachers_head ? 2 * kFloat * logits : own);
  if (!shape.has_kl && !shape.has_lm) return 0;
  if (!shape.has_kl || !shape.has_lm) return first;
  return std::max({first, 2 * one + own, 3 * one});  // at last their sum
}

// Of one part, at the three moments when most is there: behind the forward pass, in a block's
// backward pass, and behind the last one.
double PartBytes(const DistillationShape& shape, const MemoryChoice& choice) {
  const int64_t tokens = RowsOfPart(shape) * shape.length;
  const double layers = std::max(AsDouble(shape.student.n_layers()), 1.0);
  const double state = kFloat * AsDouble(tokens * shape.student.hidden_size);
  const double kept = block::KeptForGradients(shape.student, tokens, shape.fused);
  const double insides = (shape.has_teachers_states ? (layers + 1) * state : 0) +
                         (choice.recompute ? layers * state : kept);
  // Of the vocabulary, once those of several losses are added up.
  const double matrix =
      (shape.has_kl || shape.has_lm) && shape.trains_head ? kFloat * VocabularyElements(shape) : 0;
  // As much as is kept of a block, again, and gradients of its matrices.
  const double block =
      ((choice.recompute ? 2 : 1) * kept + kFloat * BlockParameters(shape.student)) / layers;
  // The gradient of a table of words beside that of the head that it is, and their sum, for which
  // libtorch 2 takes the place of one of them.
  const double end = state + (shape.student.tied_embeddings ? 3 : 1) * matrix;
  const double rounded = shape.in_bf16 && !shape.fused ? kBf16 * BlockParameters(shape.student) : 0;
  return std::max({insides + HeadBytes(shape, state, matrix), insides + block + matrix, end}) +
         (shape.fused ? 0 : kFloat * shape.adapted) + rounded;
}

// The fastest first. One part at a time costs most where there are threads for several.
std::vector<MemoryChoice> ChoicesByTime(const DistillationShape& shape,
                                        const std::string& recompute) {
  std::vector<MemoryChoice> choices;
  for (const bool alone : {false, true}) {
    if (alone && std::min(shape.parts, shape.threads) <= 1) continue;
    for (const int files : {0, 1, 2}) {
      for (const bool again : {false, true}) {
        if (recompute != "auto" && again != (recompute == "on")) continue;
        choices.push_back({again, files > 0, files > 1, alone});
      }
    }
  }
  return choices;
}

std::string Mib(double bytes) {
  return fmt::format("{:.0f} MiB", bytes / (1 << 20));
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
  shape.has_teachers_states = params.AsksForStates(/*has_words=*/false);
  shape.has_kl = params.kl_weight > 0;
  shape.has_lm = params.lm_weight > 0;
  shape.batch = params.batch;
  shape.length = length;
  shape.parts = std::min(params.batch, kParts);
  shape.threads = threads;
  return shape;
}

void DistillationShape::TakeTeachersWords(const GkdParams& params) {
  has_teachers_states = params.AsksForStates(/*has_words=*/true);
  has_teachers_head = false;
}

double ModelBytes(const DistillationShape& shape) {
  return TeacherBytes(shape) +
         IfSmall(kFloat * (BlockParameters(shape.student) + OtherParameters(shape.student)), shape);
}

double DistillationBytes(const DistillationShape& shape, const MemoryChoice& choice) {
  const double at_once = choice.one_at_a_time ? 1 : AsDouble(std::min(shape.parts, shape.threads));
  const double held_out =
      kFloat * shape.held_out * AsDouble(shape.length * shape.teacher.hidden_size);
  return kSpread * (TeacherBytes(shape) + StudentBytes(shape, choice) + held_out +
                    at_once * PartBytes(shape, choice));
}

double PretrainingBytes(const PretrainParams& params, const ModelConfig& config, int64_t length,
                        int64_t threads) {
  GkdParams same;
  same.batch = params.batch;
  same.kl_weight = same.cosine_weight = 0;
  same.lm_weight = 1;
  same.holdout = 0;
  const double step = DistillationBytes(DistillationShapeOf(same, {}, config, length, threads), {});
  // At last a copy of the weights beside them, their gradients and the two moments.
  const double end = 5 * kFloat * (BlockParameters(config) + OtherParameters(config));
  return std::max(step, kSpread * end);
}

std::string WhatItDoes(const MemoryChoice& choice) {
  std::vector<std::string> does;
  if (choice.recompute) does.emplace_back("blocks are computed again for their gradients");
  if (choice.all_in_files) {
    does.emplace_back("parameters, gradients, moments and rounded matrices lie in files");
  } else if (choice.in_files) {
    does.emplace_back("parameters and moments lie in files");
  }
  if (choice.one_at_a_time)
    does.emplace_back("parts of a batch are computed one after another on one thread");
  std::string text;
  for (size_t i = 0; i < does.size(); ++i)
    text += (i == 0 ? "" : i + 1 < does.size() ? ", " : ", and ") + does[i];
  return text;
}

MemoryChoice ChooseMemory(const DistillationShape& shape, const std::string& recompute,
                          double limit) {
  const std::vector<MemoryChoice> choices = ChoicesByTime(shape, recompute);
  const auto fits = [&](const MemoryChoice& choice) {
    return DistillationBytes(shape, choice) <= limit;
  };
  const auto found = std::find_if(choices.begin(), choices.end(), fits);
  return found != choices.end() ? *found : choices.back();
}

std::string WaysToTakeLess(const DistillationShape& shape, const GkdParams& params, double limit) {
  const auto least = [&](const DistillationShape& other, const std::string& recompute) {
    return DistillationBytes(other, ChoicesByTime(other, recompute).back());
  };
  std::string ways;
  const auto add = [&](const std::string& what, double bytes) {
    if (bytes > limit) return;
    ways += fmt::format("{}{} takes about {}", ways.empty() ? "" : ", ", what, Mib(bytes));
  };
  for (const char* train : {"changed", "adapters", "norms"}) {
    if (params.train == train) continue;
    GkdParams other = params;
    other.train = train;
    const DistillationShape its =
        DistillationShapeOf(other, shape.teacher, shape.student, shape.length, shape.threads);
    DistillationShape changed = shape;
    changed.trained = its.trained;
    changed.trains_head = its.trains_head;
    changed.adapted = its.adapted;
    add(fmt::format("`train` \"{}\"", train), least(changed, params.recompute));
  }
  for (int64_t batch = shape.batch / 2; batch > 0; batch /= 2) {
    DistillationShape smaller = shape;
    smaller.batch = batch;
    smaller.parts = std::min(shape.parts, batch);
    if (least(smaller, params.recompute) > limit) continue;
    add(fmt::format("a `batch` of {}", batch), least(smaller, params.recompute));
    break;
  }
  if (params.recompute == "off") add("`recompute` \"auto\"", least(shape, "auto"));
  return ways;
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
