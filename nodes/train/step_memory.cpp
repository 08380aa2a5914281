#include "nodes/train/step_memory.h"

#include <algorithm>

#include <fmt/format.h>

#include "io/error.h"
#include "model/block/counts.h"

namespace puzzle {

namespace {

constexpr double kBf16Bytes = 2;
constexpr double kLogitBytes = 3.0 * (1 << 25);  // of a part: both models' chunks and gradients

int64_t AtOnce(const StepShape& shape) {
  return std::min({shape.parts, shape.threads, shape.batch});
}

// Tokens in work.
int64_t TokensAtOnce(const StepShape& shape) {
  return AtOnce(shape) * ((shape.batch + shape.parts - 1) / shape.parts) * shape.length;
}

}  // namespace

double StepBytes(const ModelConfig& student, const StepShape& shape, bool recompute) {
  const int64_t tokens = TokensAtOnce(shape);
  const double state = sizeof(float) * static_cast<double>(tokens * student.hidden_size);
  const auto layers = static_cast<double>(student.n_layers());
  const double kept = block::KeptForGradients(student, tokens, shape.fused);
  const double copies = (shape.fused ? kBf16Bytes : 0) + (shape.stored ? sizeof(float) : 0);
  const double gradients =
      AtOnce(shape) > 1 ? sizeof(float) * static_cast<double>(AtOnce(shape) * shape.parameters) : 0;
  return (layers + 1) * state + (recompute ? layers * state + kept / std::max(layers, 1.0) : kept) +
         copies * static_cast<double>(shape.parameters) + gradients +
         static_cast<double>(AtOnce(shape)) * kLogitBytes;
}

bool WantsRecompute(const ModelConfig& student, const StepShape& shape, uint64_t free) {
  return free > 0 && block::KeptForGradients(student, TokensAtOnce(shape), shape.fused) >
                         static_cast<double>(free) / 4;
}

void CheckBatchFits(const ModelConfig& student, const StepShape& shape, bool recompute,
                    uint64_t free) {
  const auto fits = [&](int64_t batch) {
    StepShape other = shape;
    other.batch = batch;
    other.parts = std::min(shape.parts, batch);
    return StepBytes(student, other, recompute) <= static_cast<double>(free);
  };
  if (free == 0 || fits(shape.batch)) return;
  int64_t largest = shape.batch - 1;
  while (largest > 0 && !fits(largest)) --largest;
  const auto gib = [](double bytes) { return bytes / (1 << 30); };
  const std::string what = fmt::format(
      "a step of {} sequences of {} tokens takes about {:.3g} GiB beside the models, and {:.3g} "
      "are "
      "free: ",
      shape.batch, shape.length, gib(StepBytes(student, shape, recompute)),
      gib(static_cast<double>(free)));
  throw Error(what + (largest > 0 ? fmt::format("take a `batch` of at most {}{}", largest,
                                                recompute ? "" : ", or `recompute` on")
                                  : std::string("take shorter sequences, or fewer threads")));
}

}  // namespace puzzle
