#include "nodes/train/training_loop.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "model/pch.h"
#include "nodes/tensor_archive.h"
#include "nodes/train/batches.h"

namespace puzzle {

void SaveOptimizer(const AdamW& optimizer, ArchiveWriter& out) {
  const AdamW::State state = optimizer.state();
  out.SetAttribute("updates", state.updates);
  WriteTensor(out, "values", state.values);
  WriteTensor(out, "mean", state.mean);
  WriteTensor(out, "square", state.square);
}

void RestoreOptimizer(const ArchiveReader& in, AdamW& optimizer) {
  AdamW::State state = optimizer.state();
  for (const auto& [tensor, name] :
       {std::pair(&state.values, "values"), std::pair(&state.mean, "mean"),
        std::pair(&state.square, "square")})
    *tensor = ReadTensorInto(*tensor, in, name);
  state.updates = in.Attribute("updates");
  optimizer.Restore(state);
}

namespace {

struct Progress {
  int64_t step = 0;  // the next one
  double smooth_loss = 0;
};

void Save(const Progress& progress, const AdamW& optimizer, const BestState* best,
          ArchiveWriter& out) {
  if (best != nullptr) best->Save(out);
  out.SetAttribute("step", progress.step);
  out.SetAttribute("smooth_loss", progress.smooth_loss);
  SaveOptimizer(optimizer, out);
}

Progress Restore(const ArchiveReader& in, AdamW& optimizer, BestState* best) {
  if (best != nullptr) best->Restore(in);
  RestoreOptimizer(in, optimizer);
  return {in.Attribute("step"), in.Attribute("smooth_loss")};
}

/// How often the best state was looked for until then, the first time left out: once behind a step
/// at most.
int64_t LooksUntil(const TrainingLoop& loop, int64_t step) {
  return step * std::min(loop.considerations, loop.steps) / loop.steps;
}

/// Whether the best state is looked for behind this many steps.
bool IsConsidered(const TrainingLoop& loop, int64_t step) {
  return LooksUntil(loop, step) != LooksUntil(loop, step - 1);
}

/// Whether the best state is so old that no better one is expected.
bool IsWaitedFor(const TrainingLoop& loop, int64_t step) {
  if (loop.best == nullptr || loop.patience == 0) return true;
  return LooksUntil(loop, step) - LooksUntil(loop, loop.best->best_step()) < loop.patience;
}

}  // namespace

double RunTrainingLoop(const TrainingLoop& loop, const TrainingParams& params, AdamW& optimizer,
                       RunContext& context,
                       const std::function<double(const std::vector<int64_t>& rows)>& backward) {
  Progress progress;
  if (const auto saved = context.LastSavePoint()) {
    progress = Restore(*saved, optimizer, loop.best);
  } else if (loop.best != nullptr) {
    loop.best->Consider(0);
  }
  std::string held_out;
  SequenceOrder order(loop.sequences, loop.seed);
  order.Skip(progress.step, params.batch);
  while (progress.step < loop.steps && IsWaitedFor(loop, progress.step)) {
    const double value = backward(order.Next(params.batch));
    std::string complaint;
    if (!std::isfinite(value)) {
      complaint = fmt::format("loss {}{}", value, loop.blame ? loop.blame() : "");
    } else {
      const double norm = optimizer.Step(
          CosineSchedule(progress.step, loop.steps, params.lr, params.warmup, loop.final_ratio));
      if (!std::isfinite(norm)) complaint = fmt::format("loss {:.4f}, gradient {}", value, norm);
    }
    if (!complaint.empty()) {
      const std::string what =
          fmt::format("{} diverged at step {}: {}", loop.what, progress.step, complaint);
      if (loop.best == nullptr) throw Error(what);
      context.Warn(what + "; the best state before is kept");
      break;
    }
    optimizer.ZeroGrad();
    progress.smooth_loss = progress.step == 0 ? value : 0.95 * progress.smooth_loss + 0.05 * value;
    ++progress.step;
    if (loop.best != nullptr && IsConsidered(loop, progress.step))
      held_out = fmt::format(", held out {:.4f}", loop.best->Consider(progress.step));
    context.KeepSavePoint([&](ArchiveWriter& out) { Save(progress, optimizer, loop.best, out); });
    context.Poll(static_cast<double>(progress.step) / static_cast<double>(loop.steps),
                 fmt::format("loss {:.4f}{}", progress.smooth_loss, held_out));
  }
  if (loop.best != nullptr) loop.best->PutBack();
  return progress.smooth_loss;
}

}  // namespace puzzle
