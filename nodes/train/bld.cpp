#include "nodes/train/bld.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "graph/run/machine.h"
#include "io/error.h"
#include "model/math/optim.h"
#include "model/math/runtime.h"
#include "model/pch.h"
#include "model/surgery.h"
#include "model/unread.h"
#include "nodes/data/artifacts.h"
#include "nodes/states/artifacts.h"
#include "nodes/states/file_tensor.h"
#include "nodes/states/layer_input.h"
#include "nodes/states/walk.h"
#include "nodes/tensor_archive.h"
#include "nodes/train/batches.h"
#include "nodes/train/join.h"
#include "nodes/train/trainee.h"
#include "nodes/train/trainee_memory.h"

namespace puzzle {

using at::Tensor;

namespace {

// How many sub-blocks' data are kept for neighbours at least: two lanes with an attention and an
// FFN each. What is larger than such a part of the memory for it lives in files.
constexpr uint64_t kKeptDatasets = 4;

bool IsLinear(const VariantSpec& spec) {
  if (const auto* attention = std::get_if<AttentionSpec>(&spec)) return attention->is_linear();
  const auto* ffn = std::get_if<FfnSpec>(&spec);
  return ffn != nullptr && ffn->is_linear();
}

// Takes the trainee's weights when their held-out loss is the least that was seen.
void Offer(const Trainee& trainee, double loss, Distilled& best) {
  if (!(loss < best.loss)) return;  // NaN is no improvement
  trainee.CopyTo(best.weights);
  best.loss = loss;
}

void Save(int64_t next_step, const Trainee& trainee, const VariantSpec& spec, Distilled best,
          ArchiveWriter& out) {
  out.SetAttribute("step", next_step);
  WriteTensor(out, "losses", at::tensor({best.init_loss, best.refit_loss, best.loss}, at::kDouble));
  for (const auto& [name, slot] : Slots(best.weights, spec))
    WriteTensor(out, "best/" + name, *slot);
  trainee.Save(out);
}

// Returns the next step.
int64_t Restore(const ArchiveReader& in, const VariantSpec& spec, Trainee& trainee,
                Distilled& best) {
  const Tensor losses = ReadTensor(in, "losses");
  const auto* values = losses.data_ptr<double>();
  best.init_loss = values[0];
  best.refit_loss = values[1];
  best.loss = values[2];
  best.weights = trainee.Weights();
  for (const auto& [name, slot] : Slots(best.weights, spec))
    slot->copy_(ReadTensor(in, "best/" + name));
  trainee.Restore(in);
  return in.Attribute("step");
}

// Trains from step `first` on; looks at the held-out loss once per epoch and at the end.
void Train(Trainee& trainee, int64_t first, const VariantSpec& spec, const BldParams& params,
           uint64_t seed, RunContext& context, Distilled& best) {
  SequenceOrder order(trainee.n_train(), seed);
  order.Skip(first, params.batch);
  const auto steps = static_cast<int64_t>(std::ceil(
      params.epochs * static_cast<double>(trainee.n_train()) / static_cast<double>(params.batch)));
  const int64_t steps_per_epoch = std::max<int64_t>(1, trainee.n_train() / params.batch);
  std::vector<int64_t> rows = order.Next(params.batch);
  for (int64_t step = first; step < steps; ++step) {
    const std::vector<int64_t> next = order.Next(params.batch);
    trainee.Expect(next);
    const double loss = trainee.Step(std::exchange(rows, next),
                                     CosineSchedule(step, steps, params.lr, params.warmup));
    if (!std::isfinite(loss)) {
      best.complaint = fmt::format("the loss was {} at step {} of {}", loss, step + 1, steps);
      return;
    }
    const bool last = step + 1 == steps;
    if (last || (step + 1) % steps_per_epoch == 0) {
      const double held_out = trainee.HeldOutLoss();
      Offer(trainee, held_out, best);
      if (last && !(held_out <= best.loss))
        best.complaint = fmt::format("the held-out loss ended at {:.4f}", held_out);
    }
    context.KeepSavePoint([&](ArchiveWriter& out) { Save(step + 1, trainee, spec, best, out); });
    context.Poll(static_cast<double>(step + 1) / static_cast<double>(steps),
                 fmt::format("loss {:.4f}", loss));
  }
}

// Of its FFN; 0 where it has none of the parent's form.
int64_t ChannelsOf(const VariantSpec& spec) {
  const auto* block = std::get_if<BlockSpec>(&spec);
  const auto* ffn = block != nullptr ? &block->ffn : std::get_if<FfnSpec>(&spec);
  return ffn != nullptr && ffn->is_full() ? ffn->size : 0;
}

// Throws Error unless the importance has as many layers as the parent, and this one's shape.
void CheckImportance(const Importance& importance, const ModelConfig& parent, int64_t layer) {
  const auto index = static_cast<size_t>(layer);
  const auto fits = [&](const std::vector<Tensor>& of_layers, int64_t size) {
    if (std::ssize(of_layers) != parent.n_layers()) return false;
    const Tensor& own = of_layers[index];
    return (own.defined() ? own.numel() : 0) == size;
  };
  const BlockSpec& own = parent.blocks.at(index);
  if (!fits(importance.channel_order, own.ffn.is_full() ? own.ffn.size : 0) ||
      !fits(importance.head_scores, own.attention.is_full() ? own.attention.n_kv_heads : 0))
    throw Error("the importance is that of another model than the port `parent` gives");
}

// The layer's FFN is sorted once for all its sizes; a large one as far as this size goes.
SurgeryHints Hints(const BldParams& params, const VariantSpec& spec, const Transformer& teacher,
                   const std::string& parent_digest, const Inputs& inputs, RunContext& context) {
  const SubBlock which = WhichSubBlock(spec);
  SurgeryHints hints;
  if (params.kv_merge == "first") hints.kv_merge = KvMerge::kFirst;
  if (!inputs.Has("importance")) return hints;
  const auto importance = inputs.One<Importance>("importance");
  CheckImportance(*importance.Load(), teacher.config(), params.layer);
  const auto layer = static_cast<size_t>(params.layer);
  if (which != SubBlock::kFfn) hints.head_scores = importance.Load()->head_scores.at(layer);
  const int64_t channels = ChannelsOf(spec);
  const Tensor order = importance.Load()->channel_order.at(layer);
  if (channels == 0 || !order.defined()) return hints;
  const FfnWeights& ffn = teacher.weights().blocks[layer].ffn;
  const auto sorted = [&](int64_t count) {
    return SortChannels(ffn, order.narrow(0, 0, count).to(ffn.down.device()));
  };
  const size_t bytes = 3 * ffn.down.nbytes();
  if (bytes > context.resident_bytes() / kKeptDatasets) {
    hints.sorted_ffn = sorted(channels);
    return hints;
  }
  const std::string key =
      fmt::format("sorted-ffn {} {} {}", parent_digest, importance.digest(), params.layer);
  hints.sorted_ffn = *context.Resident<FfnWeights>(key, [&] {
    return SizedValue{std::make_shared<const FfnWeights>(sorted(order.size(0))), bytes};
  });
  return hints;
}

// Whose answers are learned, and where they come from.
struct Teacher {
  const Transformer& model;
  std::string digest;
  const Input<Activations>& activations;
  at::ScalarType products;
};

// Made once for all variants of a sub-block. An FFN's begin with the attention's, which that one's
// variants want as well.
std::shared_ptr<const SubBlockData> ParentsAnswers(const Teacher& teacher, int64_t layer,
                                                   SubBlock which, RunContext& context) {
  const ModelConfig& config = teacher.model.config();
  const std::string key =
      fmt::format("bld-data {} {} {} {} {}", teacher.digest, teacher.activations.digest(), layer,
                  SubBlockName(which), at::toString(teacher.products));
  const DataRoom room{static_cast<size_t>(context.resident_bytes() / kKeptDatasets),
                      [&] { return context.ScratchPath(); }};
  return context.Resident<SubBlockData>(key, [&] {
    std::shared_ptr<const SubBlockData> attention;
    if (which == SubBlock::kFfn && !IsNone(ParentVariant(config, layer, SubBlock::kAttention)))
      attention = ParentsAnswers(teacher, layer, SubBlock::kAttention, context);
    const auto states = teacher.activations.Load();
    CheckActivations(*states, teacher.digest, config);
    auto made = std::make_shared<const SubBlockData>(MakeSubBlockData(
        teacher.model, *states, layer, which, attention.get(), teacher.products,
        [&] { context.Poll(0, "the parent's answers"); }, room));
    return SizedValue{made, std::min(made->bytes(), room.in_memory)};
  });
}

// What is to be trained, without weights.
Block Wanted(const BldParams& params, const ModelConfig& parent, const Block* start) {
  Block block;
  block.layer = params.layer;
  block.variant = params.variant;
  if (start != nullptr && start->layer != params.layer)
    throw Error(fmt::format("layer {} is to be trained, but the start is {} of layer {}",
                            params.layer, start->variant, start->layer));
  if (params.variant == kVariantOfStart) {
    block.variant = start->variant;
    block.spec = start->spec;
  } else {
    block.spec = ResolveVariant(params.variant, parent, params.layer, params.multiple_of);
    if (start != nullptr && !(start->spec == block.spec))
      throw Error(fmt::format("layer {}: {} is to be trained, but the start is {}", params.layer,
                              params.variant, start->variant));
  }
  const SubBlock which = WhichSubBlock(block.spec);
  block.parents_own = block.spec == ParentVariant(parent, params.layer, which);
  block.trained = NoWeights(which);
  return block;
}

// What a training begins with.
struct Lesson {
  std::shared_ptr<const SubBlockData> data;
  SubBlockWeights start;
};

// The parent's layer is in memory for as long as this takes.
Lesson MakeLesson(const BldParams& params, const VariantSpec& spec, const Block* start,
                  const Inputs& inputs, RunContext& context) {
  const auto parent = inputs.One<Checkpoint>("parent");
  const auto activations = inputs.One<Activations>("activations");
  const std::string device = context.device().name();
  const Transformer teacher(
      LayerOf(parent.Load()->model, *activations.Load(), params.layer, device));
  Lesson lesson;
  lesson.data =
      ParentsAnswers({teacher, parent.digest(), activations, ProductType(params.compute, device)},
                     params.layer, WhichSubBlock(spec), context);
  lesson.start = start != nullptr
                     ? WeightsOf(*start, teacher.weights())
                     : InitVariant(teacher.weights(), params.layer, spec,
                                   Hints(params, spec, teacher, parent.digest(), inputs, context));
  return lesson;
}

// As the memory of the context allows it. `context` has to live as long.
TraineeRoom RoomOfTraining(const BldParams& params, const VariantSpec& spec,
                           const ModelConfig& parent, const SubBlockData& data,
                           RunContext& context) {
  const std::string device = context.device().name();
  if (context.device().type != "cpu") return {};
  const bool in_bf16 = ProductType(params.compute, device) == at::kBFloat16;
  const TrainingWay way = ChooseTrainingWay(
      TrainingShapeOf(spec, parent, params, in_bf16, data.length(), AvailableCores()),
      static_cast<double>(context.memory_bytes()));
  TraineeRoom room;
  room.one_at_a_time = way.one_at_a_time;
  if (way.in_files) {
    room.flat = [&context](int64_t elements) {
      return FileTensor(context.ScratchPath(), {elements}, at::kFloat);
    };
  }
  return room;
}

}  // namespace

Distilled DistillSubBlock(SubBlockWeights start, const VariantSpec& spec, const Transformer& parent,
                          const SubBlockData& data, const BldParams& params, uint64_t seed,
                          RunContext& context) {
  Trainee trainee(start, spec, parent, data, params, context.device().name(),
                  RoomOfTraining(params, spec, parent.config(), data, context));
  start = NoWeights(WhichSubBlock(spec));  // the trainee has its own
  Distilled result;
  int64_t first = 0;
  if (const auto saved = context.LastSavePoint()) {
    first = Restore(*saved, spec, trainee, result);
  } else {
    result.init_loss = result.refit_loss = result.loss = trainee.HeldOutLoss();
    result.weights = trainee.Weights();
    if (params.refit_tokens > 0) {
      trainee.RefitOutput(params.refit_tokens, [&] { context.Poll(0, "closed-form start"); });
      result.refit_loss = trainee.HeldOutLoss();
      Offer(trainee, result.refit_loss, result);
    }
  }
  const bool solved = IsLinear(spec) && params.refit_tokens > 0;
  if (!solved) Train(trainee, first, spec, params, seed, context, result);
  return result;
}

Block RunBld(const BldParams& params, const Inputs& inputs, RunContext& context) {
  const auto checkpoint = inputs.Get<Checkpoint>("parent");
  const auto start = inputs.Has("start") ? inputs.Get<Block>("start") : nullptr;
  Block block = Wanted(params, checkpoint->model.config, start.get());
  if (block.parents_own) return block;
  if (IsNone(block.spec)) {
    block.init_loss = block.loss = 1;
    return block;
  }

  const auto apart = ApartIfLarge(checkpoint->model.config, context);
  Lesson lesson = MakeLesson(params, block.spec, start.get(), inputs, context);
  // Its shape is enough from here on: where more is asked of the layer it is read again.
  const Transformer teacher(PartInMemory(checkpoint->model, {}, context.device().name()));
  Distilled distilled =
      DistillSubBlock(std::move(lesson.start), block.spec, teacher, *lesson.data, params,
                      context.seed() + static_cast<uint64_t>(params.seed), context);
  if (!distilled.complaint.empty())
    context.Warn(fmt::format("{}; the best state is kept (held-out loss {:.4f})",
                             distilled.complaint, distilled.loss));
  block.trained = std::move(distilled.weights);
  block.init_loss = distilled.init_loss;
  block.loss = distilled.loss;
  return block;
}

}  // namespace puzzle
